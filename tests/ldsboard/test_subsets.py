"""Drawing subsets from seeds, and the commitment to a seed."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from ldsboard.subsets import AUGMENTATION, INITIALISATION, ORDER, SUBSET, commitment, draw_masks, generator, subset_size


@pytest.mark.parametrize(
    ("alpha", "n", "size"), [(0.5, 1200, 600), (0.5, 5, 2), (0.5, 7, 4), (0.1, 1000, 100), (1.0, 9, 9)]
)
def test_subsets_hold_rounded_alpha_times_n_examples(alpha: float, n: int, size: int) -> None:
    masks_Mn = draw_masks(3, 5, n, alpha)
    assert masks_Mn.dtype == np.bool_
    assert masks_Mn.shape == (5, n)
    assert subset_size(alpha, n) == size
    assert (masks_Mn.sum(axis=1) == size).all()


def test_subset_depends_only_on_root_seed_and_number() -> None:
    seed = 2**127 + 5
    assert np.array_equal(draw_masks(seed, 10, 40, 0.5)[:3], draw_masks(seed, 3, 40, 0.5))
    expected = np.random.default_rng([seed, 2, 0, 0]).choice(40, 20, replace=False)
    assert np.array_equal(np.flatnonzero(draw_masks(seed, 3, 40, 0.5)[2]), np.sort(expected))


def test_subsets_are_uniform_over_examples() -> None:
    counts_n = draw_masks(11, 4000, 20, 0.5).sum(axis=0)
    # Binomial(4000, 1/2) has a standard deviation of 31.6; the largest of 20 stays within 4.
    assert np.abs(counts_n - 2000).max() < 4 * 31.6


def test_generators_differ_for_every_root_subset_run_and_stream() -> None:
    streams = (SUBSET, INITIALISATION, ORDER, AUGMENTATION)
    keys = [(r, s, run, k) for r in (0, 1, 2**128 - 1) for s in range(3) for run in range(3) for k in streams]
    assert streams == (0, 1, 2, 3)
    assert len({generator(*key).bytes(16) for key in keys}) == len(keys)


def test_commitment_is_sha256_of_big_endian_seed_and_nonce() -> None:
    nonce = bytes(range(16))
    preimage = bytes.fromhex("000000000000000000000000000001ff") + nonce
    assert commitment(511, nonce) == hashlib.sha256(preimage).hexdigest()
    assert commitment(2**128 - 1, nonce) == hashlib.sha256(b"\xff" * 16 + nonce).hexdigest()


def test_commitment_rejects_nonce_of_wrong_length() -> None:
    with pytest.raises(ValueError, match="16 bytes, got 15"):
        commitment(1, bytes(15))

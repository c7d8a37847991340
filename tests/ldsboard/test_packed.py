"""Subsets as packed bits: the same subsets as the boolean matrix, in an eighth of its memory."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ldsboard import GroundTruth, ProblemError
from ldsboard.arrays import packed
from ldsboard.arrays.masks import read_packed
from ldsboard.arrays.packed import PackedMasks
from ldsboard.bundle import LEAST_MAPPED_BYTES, Bundle, write_bundle
from ldsboard.core.kernel import ROUTE_VARIABLE
from ldsboard.subsets import draw_masks
from tests.ldsboard.bundle.example import OPEN
from tests.ldsboard.definition import result_bits
from tests.ldsboard.kernel.routes import HERE

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("n", [1, 7, 8, 9, 64, 65])
@pytest.mark.parametrize("block", [1, 10, 2**22])
def test_packed_masks_are_the_masks(
    n: int, block: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "BLOCK_BYTES", block)
    masks_Mn = rng.random((11, n)) < 0.5
    masks_Mn[7] = masks_Mn[2]
    masks = PackedMasks.of(masks_Mn)
    assert (len(masks), masks.shape) == (11, (11, n))
    assert np.array_equal(masks, masks_Mn)
    assert np.array_equal(masks.unpacked(), masks_Mn)
    assert masks.unpacked().dtype == np.bool_
    assert masks.sizes().tolist() == masks_Mn.sum(axis=1).tolist()
    assert masks.duplicates() == 11 - len({row.tobytes() for row in masks_Mn})
    for rows in (slice(2, 9), slice(None, None, -2), np.array([3, 3, 0]), [1, 10]):
        assert np.array_equal(masks[rows], masks_Mn[rows])
    assert np.array_equal(PackedMasks.joined([masks[:4], masks[4:]]), masks_Mn)
    assert np.array_equal(np.concatenate([part.unpacked() for part in masks.blocks()]), masks_Mn)


def test_counting_duplicates_does_not_copy_the_subsets(rng: np.random.Generator) -> None:
    bits_MG = rng.integers(256, size=(1000, 10_000), dtype=np.uint8)
    bits_MG[999] = bits_MG[500]
    tracemalloc.start()
    assert PackedMasks(bits_MG, 80_000).duplicates() == 1
    assert tracemalloc.get_traced_memory()[1] < bits_MG.nbytes / 20
    tracemalloc.stop()


def test_no_subsets_have_no_sizes() -> None:
    assert PackedMasks.of(np.zeros((0, 5), dtype=bool)).sizes().tolist() == []


def test_packed_masks_are_not_read_without_a_copy() -> None:
    masks = PackedMasks.of(np.eye(3, dtype=bool))
    assert np.asarray(masks, dtype=float).tolist() == np.eye(3).tolist()
    with pytest.raises(ValueError, match="without a copy"):
        np.array(masks, copy=False)


def test_read_packed_copies_only_what_can_change(tmp_path: Path) -> None:
    bits = np.array([[3], [1]], dtype=np.uint8)
    assert not np.shares_memory(read_packed(bits, 2, packed=True).bits_MG, bits)
    view = bits.view()
    view.flags.writeable = False
    assert not np.shares_memory(read_packed(view, 2, packed=True).bits_MG, bits)
    bits.flags.writeable = False  # its owner can change this back
    assert not np.shares_memory(read_packed(bits, 2, packed=True).bits_MG, bits)
    bits.tofile(tmp_path / "bits")
    for mode, copied in (("r", False), ("r+", True), ("c", True)):
        mapped = np.memmap(tmp_path / "bits", np.uint8, mode=mode, shape=(2, 1))  # type: ignore[call-overload]
        mapped.flags.writeable = False
        assert np.shares_memory(read_packed(mapped[:1], 2, packed=True).bits_MG, mapped) is not copied
    frozen = np.frombuffer(bits.tobytes(), np.uint8).reshape(2, 1)
    masks = read_packed(frozen, 2, packed=True)
    assert np.shares_memory(masks.bits_MG, frozen)
    assert read_packed(masks, None) is read_packed(masks, 2) is masks
    with pytest.raises(ProblemError, match="masks of width n = 3, got shape"):
        read_packed(masks, 3)


def test_drawing_from_a_later_subset_gives_the_same_subsets() -> None:
    assert np.array_equal(draw_masks(5, 3, 20, 0.4, first=4), draw_masks(5, 7, 20, 0.4)[4:])


def test_large_masks_are_mapped_from_the_bundle(tmp_path: Path) -> None:
    M = 70
    n = LEAST_MAPPED_BYTES // M * 8 + 7
    rng = np.random.default_rng(0)
    masks_Mn = np.unpackbits(rng.integers(256, size=(M, -(-n // 8)), dtype=np.uint8), axis=1, count=n).view(np.bool_)
    margins = rng.normal(size=(M, 1, 2)).astype(np.float32)
    write_bundle(tmp_path, {**OPEN, "ranking": (0, M)}, masks_Mn=masks_Mn, margins_MRN=margins, labels={})
    bundle = Bundle.open(tmp_path)
    assert not bundle.masks.bits_MG.flags.writeable
    assert isinstance(bundle.masks.bits_MG.base, np.memmap)
    assert np.array_equal(bundle.masks_Mn, masks_Mn)


@pytest.mark.serial
@pytest.mark.parametrize("route", HERE)
def test_masks_are_never_inflated_whole(route: str, monkeypatch: pytest.MonkeyPatch) -> None:
    M, n, N = 1000, 40_000, 16
    rng = np.random.default_rng(0)
    bits = rng.integers(256, size=(M, n // 8), dtype=np.uint8)
    scores_nN, margins_MN = rng.normal(size=(n, N)).astype(np.float32), rng.normal(size=(M, N))
    bits = np.frombuffer(bits.tobytes(), np.uint8).reshape(bits.shape)  # not copied, like a mapped file
    monkeypatch.setenv(ROUTE_VARIABLE, route)
    tracemalloc.start()
    try:
        truth = GroundTruth(bits, margins_MN, n_train=n, packed=True)
        result = truth.score(scores_nN, threads=1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    monkeypatch.setenv(ROUTE_VARIABLE, "blas")
    assert result_bits(result) == result_bits(GroundTruth(bits, margins_MN, n_train=n, packed=True).score(scores_nN))
    assert peak < M * n  # a byte for each bit is 40 MB; the blocks take 16 MiB and 8 n N bytes

"""The bits of an LDS may change only together with the scorer version, so that a board never mixes two scorers."""

from __future__ import annotations

import hashlib

import numpy as np

from ldsboard import lds
from ldsboard.core.result import SCORER_VERSION

M, R, n, N = 50, 2, 40, 6
GOLDEN = {1: "9ddda957ac1363c5767b69b3acf826a9fde014f1bb38c2539e765b696e9c0692"}


def pseudo_random_integers(count: int, shift: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return pseudo-random integers from integer arithmetic, equal in every version of numpy."""
    steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(6364136223846793005) + np.uint64(shift)
    steps ^= steps >> np.uint64(29)
    return (steps * np.uint64(1442695040888963407) >> np.uint64(40)).astype(np.int64)


def test_lds_has_the_golden_bits_of_the_scorer_version() -> None:
    scores_nN = (pseudo_random_integers(n * N, 1).reshape(n, N) % 20001 - 10000) / np.array(
        [1.0, 3.0, 7e5, 1e-7, 1.0, 1000.0]
    )
    scores_nN[:, 4] = np.sign(scores_nN[:, 4])  # many ties
    masks_Mn = pseudo_random_integers(M * n, 2).reshape(M, n) % 2 == 1
    margins_MRN = (pseudo_random_integers(M * R * N, 3).reshape(M, R, N) % 1001).astype(np.float32) / 64
    margins_MRN[:, :, 5] = np.rint(margins_MRN[:, :, 5])
    result = lds(scores_nN, masks_Mn, margins_MRN)
    bits = b"".join(np.asarray(part, "<f8").tobytes() for part in (result.lds, result.per_target, result.influence))
    assert {SCORER_VERSION: hashlib.sha256(bits).hexdigest()} == {SCORER_VERSION: GOLDEN[SCORER_VERSION]}

"""The bits of an LDS may change only together with the scorer version, so that a board never mixes two scorers."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ldsboard import GroundTruth, lds
from ldsboard.core import blocks
from ldsboard.core.kernel import ROUTE_VARIABLE
from ldsboard.core.result import SCORER_VERSION
from tests.ldsboard.kernel.routes import HERE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ldsboard import Result

M, R, n, N = 50, 2, 40, 6
GOLDEN = {1: "9ddda957ac1363c5767b69b3acf826a9fde014f1bb38c2539e765b696e9c0692"}

LARGE_M, LARGE_N, LARGE_TARGETS = 320, 203, 75
LARGE_GOLDEN = {
    1: {
        "float16": "a0f1ff47094d78a66f4167b0d268137485e0b9e473307baeb89ae6b72acaf4ac",
        "float32": "5fe02216c318c5e74050e1c81fd6b361739720499b4f6300833d597e09b9c8ee",
        "float64": "ce3781715dda12e2c45e5a313f655ac97695ac91a1e6ff23cae94d83c9594411",
    }
}
"""Of a size for which the kernel computes sums and ranks, by the type of the scores; computed before there was a kernel."""


def pseudo_random_integers(count: int, shift: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return pseudo-random integers from integer arithmetic, equal in every version of numpy."""
    steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(6364136223846793005) + np.uint64(shift)
    steps ^= steps >> np.uint64(29)
    return (steps * np.uint64(1442695040888963407) >> np.uint64(40)).astype(np.int64)


def digest(result: Result) -> str:
    """Return the SHA-256 of the LDS, the rho of each target and the influence of each subset."""
    bits = b"".join(np.asarray(part, "<f8").tobytes() for part in (result.lds, result.per_target, result.influence))
    return hashlib.sha256(bits).hexdigest()


def large_case(dtype: str) -> tuple[NDArray[np.floating], NDArray[np.bool_], NDArray[np.float32]]:
    """Return scores, masks and margins; some columns of scores have ties, and some are far smaller than others."""
    scores_nN = (
        pseudo_random_integers(LARGE_N * LARGE_TARGETS, 4).reshape(LARGE_N, LARGE_TARGETS) % 4001 - 2000
    ) / 3000
    scores_nN[:, ::5] *= np.exp2(-(np.arange(LARGE_N) % 11))[:, None]
    scores_nN[:, 1::5] = np.sign(scores_nN[:, 1::5])
    scores_nN[:, 2::25] = 0
    masks_Mn = pseudo_random_integers(LARGE_M * LARGE_N, 5).reshape(LARGE_M, LARGE_N) % 2 == 1
    margins_MN = (pseudo_random_integers(LARGE_M * LARGE_TARGETS, 6) % 1001).reshape(LARGE_M, LARGE_TARGETS) / 64
    margins_MN[:, ::7] = np.rint(margins_MN[:, ::7])
    return scores_nN.astype(dtype), masks_Mn, margins_MN.astype(np.float32)


def test_lds_has_the_golden_bits_of_the_scorer_version() -> None:
    scores_nN = (pseudo_random_integers(n * N, 1).reshape(n, N) % 20001 - 10000) / np.array(
        [1.0, 3.0, 7e5, 1e-7, 1.0, 1000.0]
    )
    scores_nN[:, 4] = np.sign(scores_nN[:, 4])  # many ties
    masks_Mn = pseudo_random_integers(M * n, 2).reshape(M, n) % 2 == 1
    margins_MRN = (pseudo_random_integers(M * R * N, 3).reshape(M, R, N) % 1001).astype(np.float32) / 64
    margins_MRN[:, :, 5] = np.rint(margins_MRN[:, :, 5])
    result = lds(scores_nN, masks_Mn, margins_MRN)
    assert {SCORER_VERSION: digest(result)} == {SCORER_VERSION: GOLDEN[SCORER_VERSION]}


@pytest.mark.parametrize("route", HERE)
@pytest.mark.parametrize(("threads", "block"), [(1, 512), (1, 8), (3, 24)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_every_route_has_the_golden_bits_of_the_scorer_version(
    route: str, threads: int, block: int, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ROUTE_VARIABLE, route)
    monkeypatch.setattr(blocks, "MAX_BLOCK_TARGETS", block)
    monkeypatch.setattr(blocks, "MIN_THREADED_PRODUCTS", 1)
    scores_nN, masks_Mn, margins_MN = large_case(dtype)
    result = GroundTruth(masks_Mn, margins_MN).score(scores_nN, threads=threads)
    assert digest(result) == LARGE_GOLDEN[SCORER_VERSION][dtype]

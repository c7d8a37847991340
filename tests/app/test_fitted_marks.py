"""The mark of fitted scores finds ridge regression on the ranking subsets, and no honest scores.

Legend: M subsets, R runs, n training examples, N targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from app.leaderboard.disclosure import is_fitted
from ldsboard import GroundTruth
from ldsboard.core.ceiling import noise_ceiling

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ldsboard.core.result import Result

SEEDS = 20
R, n, N = 2, 300, 20


def is_marked(result: Result, margins_MRN: NDArray[np.float32]) -> bool:
    """Return whether a practice board with these margins marks a result."""
    ceiling = noise_ceiling(margins_MRN)
    manifest = {"split": "open", "ceiling": ceiling.value, "ceiling_std_error": ceiling.std_error}
    return is_fitted(result.lds, result.std_error, manifest)


@pytest.mark.parametrize("noise", [4.0, 12.0])
@pytest.mark.parametrize("M", [64, 160])
def test_fitted_scores_are_marked_and_honest_scores_are_not(M: int, noise: float) -> None:
    """20 boards: with none of 20 marked wrongly, a rate of 14 % would be seen with a probability of 95 %.

    On other subsets, the LDS of the ridge regression is .18 to .62; on its own subsets it is above .999. The ceiling is about .95
    or .7. Honest scores are the true effects, which no method can be expected to beat, and the true effects with noise.
    """
    found = dict.fromkeys(("ridge", "true", "honest"), 0)
    for seed in range(SEEDS):
        rng = np.random.default_rng([13, seed])
        masks_Mn = rng.permuted(np.tile(np.arange(n) < n // 2, (M, 1)), axis=1)
        effects_nN = rng.normal(size=(n, N))
        clean_MN = (masks_Mn - 0.5) @ effects_nN
        margins_MRN = (clean_MN[:, None] + noise * rng.normal(size=(M, R, N))).astype(np.float32)
        centred_Mn = masks_Mn - 0.5
        kernel_MM = centred_Mn @ centred_Mn.T + np.eye(M)
        truth = GroundTruth(masks_Mn, margins_MRN)
        scores = {
            "ridge": centred_Mn.T @ np.linalg.solve(kernel_MM, margins_MRN.mean(axis=1, dtype=np.float64)),
            "true": effects_nN,
            "honest": effects_nN + rng.normal(size=effects_nN.shape),
        }
        for method, array in scores.items():
            found[method] += is_marked(truth.score(array), margins_MRN)
    assert found == {"ridge": SEEDS, "true": 0, "honest": 0}

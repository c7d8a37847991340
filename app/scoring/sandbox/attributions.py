"""What is kept of a score file to look at: who speaks for and against some targets, and what the file predicts of them.

Only public subsets have a part in it.

Legend: M public subsets, n training examples, N targets, t targets that are shown, k examples at each end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ldsboard import GroundTruth
    from ldsboard.headers import ScoreArray

FIXED = 12
"""Targets that are shown of every file, spread evenly, so that files can be compared."""

EXTREME = 3
"""Targets that are shown because the file predicts them best, and as many that it predicts worst."""

EXAMPLES = 8
"""Proponents and opponents of each target."""


class Attributions(NamedTuple):
    """The extreme scores and the predictions of the targets that are shown.

    Attributes
    ----------
    targets_t
        int64 (t,), rising.
    proponents_tk, opponents_tk
        int64 (t, k): the training examples with the highest scores, the highest first, and with the lowest, the lowest first; of
        equal scores the lower index comes first.
    proponent_scores_tk, opponent_scores_tk
        float64 (t, k): their scores, as in the file.
    predictions_tM
        float64 (t, M): the sums of scores over the public subsets.
    """

    targets_t: NDArray[np.int64]
    proponents_tk: NDArray[np.int64]
    proponent_scores_tk: NDArray[np.float64]
    opponents_tk: NDArray[np.int64]
    opponent_scores_tk: NDArray[np.float64]
    predictions_tM: NDArray[np.float64]

    @classmethod
    def of(cls, scores_nN: ScoreArray, truth: GroundTruth, public: slice, rho_N: NDArray[np.float64]) -> Self:
        """Look at a file whose correlations on the public subsets are rho, (N,); it is read one target at a time."""
        targets_t = shown_targets(rho_N)
        high, high_scores, low, low_scores = [], [], [], []
        for target in targets_t:
            scores_n: NDArray[np.floating] = np.ascontiguousarray(scores_nN[:, target])
            high.append(np.argsort(-scores_n, kind="stable")[:EXAMPLES])
            low.append(np.argsort(scores_n, kind="stable")[:EXAMPLES])
            high_scores.append(scores_n[high[-1]].astype(np.float64))
            low_scores.append(scores_n[low[-1]].astype(np.float64))
        predictions_tM = truth.predict(scores_nN, targets_t, public)
        return cls(
            targets_t, np.array(high), np.array(high_scores), np.array(low), np.array(low_scores), predictions_tM
        )


def shown_targets(rho_N: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the targets to show of a file: some that are the same for all, and those that it predicts best and worst."""
    N = rho_N.size
    fixed = np.linspace(0, N - 1, min(FIXED, N)).round().astype(np.int64)
    best, worst = (np.argsort(values_N, kind="stable")[:EXTREME] for values_N in (-rho_N, rho_N))
    return np.unique(np.concatenate([fixed, best, worst]))

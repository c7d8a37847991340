"""Attributions for display: proponents, opponents and predictions of some targets of a score file.

Attributions depend on the scores and the public subsets only.

Legend: M public subsets, n training examples, N targets, t shown targets, k proponents and k opponents per target.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ldsboard import GroundTruth
    from ldsboard.formats.headers import ScoreArray

FIXED_TARGETS = 12
"""Number of evenly spaced targets that are shown for every file, so that files can be compared."""

EXTREME_TARGETS = 3
"""Number of targets with the highest rho, and number of targets with the lowest rho, that are shown as well."""

EXAMPLES = 8
"""Number of proponents, and number of opponents, that are shown for each target."""


class Attributions(NamedTuple):
    """The extreme scores and the predictions of the shown targets.

    Attributes
    ----------
    targets_t
        Indices of the shown targets, int64 (t,), ascending.
    proponents_tk
        Indices of the training examples with the highest scores, int64 (t, k), the highest score first; training examples with
        equal scores are in ascending order.
    opponents_tk
        Indices of the training examples with the lowest scores, int64 (t, k), the lowest score first; training examples with
        equal scores are in ascending order.
    proponent_scores_tk, opponent_scores_tk
        Scores of these training examples in the file, float64 (t, k).
    predictions_tM
        Predictions for the public subsets, float64 (t, M).
    """

    targets_t: NDArray[np.int64]
    proponents_tk: NDArray[np.int64]
    proponent_scores_tk: NDArray[np.float64]
    opponents_tk: NDArray[np.int64]
    opponent_scores_tk: NDArray[np.float64]
    predictions_tM: NDArray[np.float64]

    @classmethod
    def of(cls, scores_nN: ScoreArray, truth: GroundTruth, public: slice, rho_N: NDArray[np.float64]) -> Self:
        """Return the attributions of a file. To save memory, only the scores of the shown targets are read.

        Parameters
        ----------
        scores_nN
            The scores of the file, (n, N).
        public
            Rows of the public subsets in `truth`.
        rho_N
            rho of each target on the public subsets, float64 (N,).
        """
        targets_t = shown_targets(rho_N)
        shown_tn: NDArray[np.floating] = np.ascontiguousarray(scores_nN[:, targets_t].T)
        high_tk = np.array([_highest(scores_n) for scores_n in shown_tn])
        low_tk = np.array([_highest(-scores_n) for scores_n in shown_tn])
        high, low = (
            np.take_along_axis(shown_tn, found_tk, axis=1).astype(np.float64) for found_tk in (high_tk, low_tk)
        )
        return cls(targets_t, high_tk, high, low_tk, low, truth.predict(scores_nN, targets_t, public))


def _highest(scores_n: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return the indices of the `EXAMPLES` highest scores, the highest first; those of equal scores are in ascending order."""
    place = max(0, scores_n.size - EXAMPLES)
    least = np.partition(scores_n, place)[place]
    found = np.flatnonzero(scores_n >= least)
    return found[np.argsort(-scores_n[found], kind="stable")][:EXAMPLES]


def shown_targets(rho_N: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the indices of the targets to show, int64 (t,), ascending.

    These are `FIXED_TARGETS` evenly spaced targets, the `EXTREME_TARGETS` targets with the highest rho, and as many targets with
    the lowest rho.
    """
    N = rho_N.size
    fixed = np.linspace(0, N - 1, min(FIXED_TARGETS, N)).round().astype(np.int64)
    best, worst = (np.argsort(values_N, kind="stable")[:EXTREME_TARGETS] for values_N in (-rho_N, rho_N))
    return np.unique(np.concatenate([fixed, best, worst]))

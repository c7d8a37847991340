"""The examples that are removed: those with the highest scores for a target, and those with the lowest.

Legend: n training examples, N targets, T targets of the plan, k removed examples, K the largest k.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from ldsboard.subsets import CONTROL, generator

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from ldsboard.counterfactual.plan import Plan

PROPONENTS, OPPONENTS = DIRECTIONS = ("proponents", "opponents")
"""Proponents are the examples with the highest scores, opponents those with the lowest."""

CONTROLS = 10
"""Number of random removals of each size. They are the same for all targets and all score files."""


class Marks(NamedTuple):
    """How many of the targets have removals that say less than they seem to.

    Attributes
    ----------
    ties
        Some examples that were removed and some that were kept have equal scores.
    wrong_sign
        An example without a positive score was removed as a proponent, or one without a negative score as an opponent.
    whole_class
        All training examples of a class were removed.
    """

    ties: int
    wrong_sign: int
    whole_class: int


@dataclass(frozen=True)
class Removals:
    """The examples that are removed for each target.

    The removals of a target are nested: the k examples that are removed are the first k of K. Of examples with equal scores, the
    one with the lowest index is the first.

    Attributes
    ----------
    examples
        Indices of the first K examples of each direction, int64 (T, K), by direction.
    scores
        Scores of the first K + 1 examples of each direction, float64 (T, K + 1), by direction.
    """

    examples: dict[str, NDArray[np.int64]]
    scores: dict[str, NDArray[np.float64]]

    @classmethod
    def of(cls, scores_nN: ArrayLike, plan: Plan) -> Self:
        """Return the removals that scores, (n, N), finite, name for the targets of a plan."""
        scores_nT = np.asarray(scores_nN)[:, list(plan.targets)]
        largest = plan.sizes[-1]
        examples, scores = {}, {}
        for direction, sign in zip(DIRECTIONS, (-1, 1), strict=True):
            # One target after the other, because sorting takes eight bytes for each score.
            orders = (np.argsort(sign * column_n.astype(np.float64), kind="stable") for column_n in scores_nT.T)
            first_TK = np.stack([order_n[: largest + 1] for order_n in orders])
            examples[direction] = first_TK[:, :largest].astype(np.int64)
            scores[direction] = np.take_along_axis(scores_nT.T, first_TK, axis=1).astype(np.float64)
        return cls(examples, scores)

    def marks(self, direction: str, k: int, labels_n: NDArray[np.integer]) -> Marks:
        """Return how many targets have unusual removals of k examples, whose labels are `labels_n` (n,)."""
        last, following = self.scores[direction][:, k - 1], self.scores[direction][:, k]
        wrong = last <= 0 if direction == PROPONENTS else last >= 0
        classes_n = np.unique(labels_n, return_inverse=True)[1]
        size_c = np.bincount(classes_n)
        emptied = [
            bool((np.bincount(classes_n[removed_k], minlength=size_c.size) == size_c).any())
            for removed_k in self.examples[direction][:, :k]
        ]
        return Marks(*(int(np.count_nonzero(each)) for each in (last == following, wrong, emptied)))


def draw_controls(seed: int, k: int, n: int) -> NDArray[np.int64]:
    """Draw the random removals of k of n examples that scores are compared with, int64 (`CONTROLS`, k)."""
    return np.stack([generator(seed, k, number, CONTROL).choice(n, k, replace=False) for number in range(CONTROLS)])

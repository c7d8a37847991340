"""The result of a counterfactual evaluation.

Legend: T targets of the plan.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ldsboard.counterfactual.falls import Falls, Summary
from ldsboard.counterfactual.removals import DIRECTIONS, PROPONENTS, Marks, Removals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ldsboard.counterfactual.falls import Known, OwnOutputs
    from ldsboard.counterfactual.plan import Plan


@dataclass(frozen=True)
class CounterfactualResult:
    """How far margins fall without the examples with the highest scores, and rise without those with the lowest.

    Attributes
    ----------
    plan
        The plan of the evaluation.
    before
        Margins of the targets by the models trained on all examples, means over runs, float64 (T,).
    falls
        Falls of the single targets, by direction and number of removed examples. The falls of opponents are negative if the
        margins rise.
    marks
        Numbers of targets with unusual removals, likewise.
    seconds
        Processor time of all models, those that all score files share excluded.
    """

    plan: Plan
    before: NDArray[np.float64]
    falls: dict[tuple[str, int], Falls]
    marks: dict[tuple[str, int], Marks]
    seconds: float

    @classmethod
    def of(
        cls,
        plan: Plan,
        removals: Removals,
        labels_n: NDArray[np.integer],
        known: Known,
        after: Mapping[tuple[str, int], OwnOutputs],
        seconds: float,
    ) -> CounterfactualResult:
        """Compute the result from what the retrained models say of their targets."""
        falls = {key: Falls.of(after[key], known, plan.targets, key[1]) for key in after}
        marks = {(direction, k): removals.marks(direction, k, labels_n) for direction, k in after}
        before_T = known.everything.margins[:, list(plan.targets)].mean(axis=0, dtype=np.float64)
        return cls(plan, before_T, falls, marks, seconds)

    @property
    def headline(self) -> Summary:
        """The fall without 1 % of the examples, those with the highest scores."""
        return Summary.of(self.falls[PROPONENTS, self.plan.headline])

    def margins(self, direction: str) -> NDArray[np.float64]:
        """Return the falls of the margins of single targets in one direction, float64 (sizes, T)."""
        return np.stack([self.falls[direction, k].margin for k in self.plan.sizes])

    def rows(self) -> list[dict[str, Any]]:
        """Return one row for each direction and number of removed examples: a summary and the marks, for JSON (nan as None)."""
        return [
            {"direction": direction, "removed": k}
            | {name: _or_none(value) for name, value in asdict(Summary.of(self.falls[direction, k])).items()}
            | self.marks[direction, k]._asdict()
            for direction in DIRECTIONS
            for k in self.plan.sizes
        ]


def _or_none(value: float | tuple[float, ...]) -> Any:
    if isinstance(value, tuple):
        return [_or_none(each) for each in value]
    return value if math.isfinite(value) else None

"""Groups of targets on the page of a submission: the targets of each class, and the targets with a negative mean margin.

Legend: N targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ldsboard.core.target_summary import share_significant


class TargetGroup(NamedTuple):
    """A group of targets: name of the group, mean of rho, number of targets, and share of the targets with p < 0.05."""

    label: str
    mean: float
    targets: int
    share_p05: float

    @classmethod
    def of(cls, label: str, rho_N: NDArray[np.float64], p_values_N: NDArray[np.float64]) -> TargetGroup:
        """Return the group of N >= 1 targets with these rho and p-values, each float64 (N,)."""
        return cls(label, float(rho_N.mean()), rho_N.size, share_significant(p_values_N))


def by_class(
    rho_N: NDArray[np.float64], p_values_N: NDArray[np.float64], labels: Sequence[str | None]
) -> list[TargetGroup]:
    """Return one group for each class, the highest mean of rho first. Targets without a label are in no group.

    The list is empty if there are no labels, only a single class, or only one target in each class.

    Parameters
    ----------
    rho_N, p_values_N
        Correlation and two-sided p-value of each target, float64 (N,).
    labels
        Class of each target, in the same order.
    """
    known = sorted({label for label in labels if label is not None})
    if not 1 < len(known) < rho_N.size:
        return []
    of_N = np.array(labels, dtype=object)
    groups = [TargetGroup.of(label, rho_N[of_N == label], p_values_N[of_N == label]) for label in known]
    return sorted(groups, key=lambda group: -group.mean)


def by_margin(
    rho_N: NDArray[np.float64], p_values_N: NDArray[np.float64], margins_N: NDArray[np.float64]
) -> list[TargetGroup]:
    """Return the group of targets with a negative mean margin, and the group of all other targets, if there are any.

    The list is empty if no target has a negative mean margin.

    Parameters
    ----------
    rho_N, p_values_N
        Correlation and two-sided p-value of each target, float64 (N,).
    margins_N
        Mean margin of each target, float64 (N,).
    """
    if not (margins_N < 0).any():
        return []
    groups = (("negative", margins_N < 0), ("not negative", margins_N >= 0))
    return [TargetGroup.of(label, rho_N[of_N], p_values_N[of_N]) for label, of_N in groups if of_N.any()]

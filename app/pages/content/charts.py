"""The data of charts, as the tables under them show it.

Legend: N targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

BINS = 40
"""Bins from -1 to 1: each is 0.05 wide."""


@dataclass(frozen=True)
class Bin:
    """How many values lie from ``low`` to below ``high`` (in the last bin, to ``high`` itself)."""

    low: float
    high: float
    count: int


def histogram(rho_N: NDArray[np.float64]) -> list[Bin]:
    """Count correlations, float64 (N,), in bins of equal width, from the first bin that holds any to the last."""
    counts, edges = np.histogram(rho_N, bins=BINS, range=(-1.0, 1.0))
    filled = np.flatnonzero(counts)
    return [
        Bin(round(float(edges[i]), 2), round(float(edges[i + 1]), 2), int(counts[i]))
        for i in range(filled[0], filled[-1] + 1)
    ]


class ClassMean(NamedTuple):
    """The mean correlation of the targets of one class, and how many they are."""

    label: str
    mean: float
    targets: int


def by_class(rho_N: NDArray[np.float64], labels: Sequence[str | None]) -> list[ClassMean]:
    """Return the mean correlation of each class, the highest first; rho and labels are of the same N targets.

    Nothing where classes are unknown, where there is one alone, or where each has a single target: then a mean tells nothing new.
    """
    known = sorted({label for label in labels if label is not None})
    if not 1 < len(known) < rho_N.size:
        return []
    of_N = np.array(labels, dtype=object)
    groups = [(label, rho_N[of_N == label]) for label in known]
    means = [ClassMean(label, float(rho.mean()), rho.size) for label, rho in groups]
    return sorted(means, key=lambda found: -found.mean)


MOST_TARGETS = 1000
"""Targets in a scatter; of more, as many are drawn, spread evenly."""

CLEAREST = 5
"""Targets that are named on each side of a comparison."""


class Pair(NamedTuple):
    """The correlations of a target, by two submissions."""

    target: int
    a: float
    b: float


@dataclass(frozen=True)
class Versus:
    """Two submissions on the same targets: points to draw, and on how many each is better, and on which by most."""

    points: list[Pair]
    targets: int
    a_wins: int
    b_wins: int
    clearest_a: list[Pair]
    clearest_b: list[Pair]


def versus(rho_a_N: NDArray[np.float64], rho_b_N: NDArray[np.float64]) -> Versus:
    """Compare correlations of the same targets, float64 (N,) each."""
    N = rho_a_N.size
    difference_N = rho_a_N - rho_b_N

    def pairs(targets: NDArray[np.integer]) -> list[Pair]:
        return [Pair(int(j), float(rho_a_N[j]), float(rho_b_N[j])) for j in targets]

    def clearest(lead_N: NDArray[np.float64]) -> list[Pair]:
        order = np.argsort(-lead_N, kind="stable")[:CLEAREST]
        return pairs(order[lead_N[order] > 0])

    return Versus(
        points=pairs(np.linspace(0, N - 1, min(N, MOST_TARGETS)).round().astype(int)),
        targets=N,
        a_wins=int(np.count_nonzero(difference_N > 0)),
        b_wins=int(np.count_nonzero(difference_N < 0)),
        clearest_a=clearest(difference_N),
        clearest_b=clearest(-difference_N),
    )

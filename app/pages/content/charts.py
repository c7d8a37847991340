"""The data of charts. A page shows the data as a table, and a script in the browser draws the chart from the table.

Legend: N targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BINS = 40
"""Number of histogram bins from -1 to 1, each 0.05 wide."""


@dataclass(frozen=True)
class Bin:
    """A histogram bin: the number of values in [``low``, ``high``); the last bin also counts values equal to ``high``."""

    low: float
    high: float
    count: int


def histogram(rho_N: NDArray[np.float64]) -> list[Bin]:
    """Return the bins of a histogram of `rho_N`, float64 (N,) with N >= 1, without the empty bins at both ends."""
    counts, edges = np.histogram(rho_N, bins=BINS, range=(-1.0, 1.0))
    filled = np.flatnonzero(counts)
    edges = edges.round(2)
    bins = list(map(Bin, edges[:-1].tolist(), edges[1:].tolist(), counts.tolist()))
    return bins[filled[0] : filled[-1] + 1]


MAX_POINTS = 1000
"""Maximum number of points in a scatter plot. If there are more targets, an evenly spaced selection is drawn."""

MAX_CLEAREST = 5
"""Maximum number of targets that are listed for each submission: those on which the submission leads most."""


class Pair(NamedTuple):
    """The index of a target, and rho of this target for the submissions a and b."""

    target: int
    a: float
    b: float


class Versus(NamedTuple):
    """Two submissions a and b compared target by target.

    ``points`` are the points of the scatter plot, and ``targets`` is N. ``a_wins`` counts the targets whose rho is higher
    for a. ``clearest_a`` lists the targets on which a leads most, largest lead first. The fields for b are the same, for b.
    """

    points: list[Pair]
    targets: int
    a_wins: int
    b_wins: int
    clearest_a: list[Pair]
    clearest_b: list[Pair]


def versus(rho_a_N: NDArray[np.float64], rho_b_N: NDArray[np.float64]) -> Versus:
    """Compare two submissions target by target. Each array holds rho of every target for one submission, float64 (N,)."""
    N = rho_a_N.size
    difference_N = rho_a_N - rho_b_N

    def pairs(targets: NDArray[np.integer]) -> list[Pair]:
        return [Pair(int(j), float(rho_a_N[j]), float(rho_b_N[j])) for j in targets]

    def clearest(lead_N: NDArray[np.float64]) -> list[Pair]:
        order = np.argsort(-lead_N, kind="stable")[:MAX_CLEAREST]
        return pairs(order[lead_N[order] > 0])

    return Versus(
        points=pairs(np.linspace(0, N - 1, min(N, MAX_POINTS)).round().astype(int)),
        targets=N,
        a_wins=int(np.count_nonzero(difference_N > 0)),
        b_wins=int(np.count_nonzero(difference_N < 0)),
        clearest_a=clearest(difference_N),
        clearest_b=clearest(-difference_N),
    )

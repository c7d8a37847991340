"""Paired tests of many pairs of entries of a board, most of them without a p-value.

Ranks need no p-values, but only which p-values are at most a limit. The p-value of a pair falls with its *evidence*, the square
of the test statistic z. The squared distances behind z come from products of matrices, which are many times as fast as
differences, but lose digits. This loss is bounded: the evidence of each pair is right up to `PairTests.tolerance`. Pairs that are
closer to a limit get the p-value of `PairTests.p_values`, with the bits of a plain computation for all pairs.

Legend: k entries, M subsets; a and b entries of a block of pairs.
"""

from __future__ import annotations

import math
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy

from ldsboard.core.replicates import FEWEST_REPLICATES, Reruns, add_reruns, rerun_p_values
from ldsboard.core.significance import two_sided_p

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Indices = NDArray[np.intp]

LOSS = 1e-9
"""Largest relative error of a squared distance from a product of matrices; the others are computed from differences."""

TOLERANCE, RERUN_TOLERANCE = 4e-9, 1e-6
"""Largest relative errors of the evidence, of pairs of single files and of pairs with reruns, with room for `two_sided_p`. The
p-value of a pair with reruns can change 60 times as fast as the squared distance, and its evidence is interpolated."""

SLACK = 1e-10
"""Largest relative error of `two_sided_p`; its errors are below 1e-12."""

NODES = 10_000
"""Number of p-values for which the evidence is computed; between them it is interpolated, to a relative error below 1e-7."""

MAX_CALL = 1000
"""Number of pairs whose exact squared distances are computed at once, so that their differences fit into a few megabytes."""


class Known(NamedTuple):
    """The `Reruns` of all k entries, as arrays (k,)."""

    reruns: Reruns

    @classmethod
    def of(cls, reruns: Sequence[Reruns] | None) -> Known | None:
        """Return the reruns of all entries; None if no entry has enough replicates to change a test."""
        if reruns is None or all(entry.known < FEWEST_REPLICATES for entry in reruns):
            return None
        return cls(Reruns(*(np.array(column) for column in zip(*reruns, strict=True))))

    def between(self, a: Indices, b: Indices) -> tuple[Reruns, Reruns]:
        """Return the reruns of the entries with the indices `a` and `b`."""
        return (Reruns(*(column[a] for column in self.reruns)), Reruns(*(column[b] for column in self.reruns)))


def p_values(difference: Floats, squares: Floats, M: int, reruns: tuple[Reruns, Reruns] | None) -> Floats:
    """Return the p-value of the paired test of `compare_influences` for each pair of entries a and b.

    `difference` holds the differences of their LDS, and `squares` holds ``sum((psi_a - psi_b)**2)``, in arrays of equal shape.
    """
    paired_error = np.sqrt(squares / (M * (M - 1)))
    error = None if reruns is None else add_reruns(paired_error, *reruns)
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(difference == 0, 0.0, difference / (paired_error if error is None else error.std_error))
    return two_sided_p(z, M - 1) if error is None else rerun_p_values(z, M, error)


class PairTests:
    """The paired tests of `rank_board` between any two of k entries.

    Parameters
    ----------
    lds_k, influence_kM
        LDS and psi of each entry, float64.
    reruns
        The replicates of each entry; None if every entry is one file.
    largest_limit, smallest_limit
        The range of the limits that p-values will be compared with. The evidence of pairs with reruns is not computed beyond.
    """

    def __init__(
        self,
        lds_k: Floats,
        influence_kM: Floats,
        reruns: Sequence[Reruns] | None,
        largest_limit: float,
        smallest_limit: float,
    ) -> None:
        self.lds_k, self.influence_kM = lds_k, influence_kM
        self.known = Known.of(reruns)
        self.tolerance = TOLERANCE if self.known is None else RERUN_TOLERANCE
        self.M = influence_kM.shape[1]
        self._limits = (largest_limit, smallest_limit)
        # What all entries share, such as the influence of an outlier, would enlarge the errors of the products.
        self._centred_kM = influence_kM - influence_kM.mean(axis=0)
        self._norm_k = np.einsum("kM,kM->k", self._centred_kM, self._centred_kM)
        self._bounds: dict[float, tuple[float, float]] = {}

    def differences(self, a: Indices, b: Indices) -> Floats:
        """Return the LDS of each of the entries `a` minus the LDS of each of the entries `b`, (a, b)."""
        return self.lds_k[a, None] - self.lds_k[b]

    def evidence(self, a: Indices, b: Indices) -> Floats:
        """Return the evidence that two LDS differ, for each of the entries `a` with each of the entries `b`, (a, b).

        The evidence is z squared. The evidence of pairs with reruns is the square of the z that would give a pair of
        single files the same p-value. An entry has no evidence with itself.
        """
        squares = self._squares(a, b)
        evidence = self.differences(a, b)
        is_equal = evidence == 0
        np.square(evidence, out=evidence)
        evidence *= self.M * (self.M - 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            evidence /= squares
        if self.known is not None:
            is_known = self.known.reruns.known >= FEWEST_REPLICATES
            # Reruns enlarge the standard error, and the p-value too unless their spread has more degrees of freedom.
            least = self.bounds(self._limits[0])[0] if self.known.reruns.known.max() <= self.M else 0.0
            of_a, of_b = np.nonzero((is_known[a, None] | is_known[b]) & (evidence >= least) & ~is_equal)
            pairs = (a[of_a], b[of_b])
            evidence[of_a, of_b] = self._rerun_evidence(*pairs, squares[of_a, of_b], self.known.between(*pairs))
        evidence[is_equal] = 0
        return evidence

    def p_values(self, a: Indices, b: Indices) -> Floats:
        """Return the p-values of pairs of entries, `a` and `b` of equal shape (pairs,), with all digits.

        `a` is in ascending order.
        """
        squares = self._exact_squares(a, b)
        return p_values(self.lds_k[a] - self.lds_k[b], squares, self.M, self.known and self.known.between(a, b))

    def bounds(self, limit: float) -> tuple[float, float]:
        """Return two amounts of evidence: below the first, p is above `limit`; from the second on, p is at most `limit`.

        Between the two, only `p_values` tells. With fewer than two subsets, both amounts are nan.
        """
        if limit not in self._bounds:
            self._bounds[limit] = self._find_bounds(limit)
        return self._bounds[limit]

    def _find_bounds(self, limit: float) -> tuple[float, float]:
        critical, width = float(scipy.special.stdtrit(self.M - 1, limit / 2)) ** 2, self.tolerance
        while critical > 0:
            low, high = critical * max(0.0, 1 - width), critical * (1 + width)
            # Three quarters of the width are for errors of the evidence.
            ends = np.sqrt([critical * max(0.0, 1 - width / 4), critical * (1 + width / 4)])
            above, below = two_sided_p(ends, self.M - 1)
            if above > limit * (1 + SLACK) and below < limit * (1 - SLACK):
                return low, high
            width *= 4
        return np.nan, np.nan

    def _squares(self, a: Indices, b: Indices) -> Floats:
        """Return the squared distances between the influences of entries, right up to the relative error `LOSS`, (a, b)."""
        squares: Floats = self._centred_kM[a] @ self._centred_kM[b].T
        squares *= -2
        norms = self._norm_k[a, None] + self._norm_k[b]
        squares += norms
        # Twice the bound of the errors of rounding: each of the three products has M terms.
        norms *= 4 * (self.M + 8) * np.finfo(np.float64).eps / 2 / LOSS
        is_lost = ~(squares > norms)
        is_lost &= a[:, None] != b
        of_a, of_b = np.nonzero(is_lost)
        if of_a.size:
            squares[of_a, of_b] = self._exact_squares(a[of_a], b[of_b])
        return squares

    def _exact_squares(self, a: Indices, b: Indices) -> Floats:
        """Return the sums of squared differences of the influences of pairs of entries, (pairs,).

        These are the bits of ``scipy.spatial.distance.pdist``. `a` is in ascending order.
        """
        from scipy.spatial.distance import cdist  # noqa: PLC0415 -- slow to import, and only leaderboards need it

        found = np.empty(a.size)
        for start, end in pairwise([*np.flatnonzero(np.diff(a, prepend=-1)), a.size]):
            own_1M = self.influence_kM[a[start], None]
            for part in range(start, end, MAX_CALL):
                others = b[part : min(end, part + MAX_CALL)]
                found[part : part + others.size] = cdist(own_1M, self.influence_kM[others], "sqeuclidean")[0]
        return found

    def _rerun_evidence(self, a: Indices, b: Indices, squares: Floats, reruns: tuple[Reruns, Reruns]) -> Floats:
        p = p_values(self.lds_k[a] - self.lds_k[b], squares, self.M, reruns)
        log_p, log_evidence = self._table
        with np.errstate(divide="ignore"):
            return np.exp(np.interp(np.log(p), log_p, log_evidence, left=np.inf, right=-np.inf))

    @cached_property
    def _table(self) -> tuple[Floats, Floats]:
        """Return logarithms of p-values in ascending order, and of the evidence of pairs of single files with these p-values."""
        largest, smallest = self._limits
        last, first = (float(-scipy.special.stdtrit(self.M - 1, p)) for p in (smallest / 4, 1.1 * largest))
        log_z = np.linspace(math.log(last), math.log(first), NODES)
        return np.log(two_sided_p(np.exp(log_z), self.M - 1)), 2 * log_z

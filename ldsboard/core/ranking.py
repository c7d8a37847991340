"""Exact average ranks as integers, Spearman's correlation, and its influence function.

Ranks are centred and doubled: ``2 * rank - (M + 1)``, integers between -(M - 1) and M - 1 that sum to 0 over a list. Every sum
and product below is therefore an integer that int64 and float64 both represent exactly (up to M = 50,000).

Legend: M subsets, b targets of one block, t targets of the block that have ties, f and g the centred ranks of two lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_SUBSETS = 50_000
"""Limit of M. All sums are of the order of 4 M**3, and must be below 2**53."""

KEY_BITS = 63
"""Number of bits of a sorting key, which holds a value and the position of this value."""


RANKED_NUMBERS = 2**22
"""Number of margins that are ranked at a time."""


@dataclass(frozen=True)
class Ranking:
    """The ranks of b lists of M elements, one list per row, with the quantities that the influence function needs.

    Attributes
    ----------
    ranks_bM
        Centred ranks, int64 (b, M).
    order_bM
        Positions of the elements in increasing order of value, intp (b, M); the order within ties is arbitrary.
    tied_t
        Indices of the t rows with ties, increasing.
    first_tM, last_tM
        For each sorted position p (the column), the first and the last sorted position of the group of equal values that
        contains p; only for the t rows with ties, intp (t, M).
    squares_b
        Sum of the squared ranks of each list, integers as float64 (b,); 0 for a constant list.
    """

    ranks_bM: NDArray[np.int64]
    order_bM: NDArray[np.intp]
    tied_t: NDArray[np.intp]
    first_tM: NDArray[np.intp]
    last_tM: NDArray[np.intp]
    squares_b: NDArray[np.float64]

    def upper_sums(self, values_bM: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return, for each element of each ranked list, twice the sum of the values with a higher rank, plus those with its rank.

        `values_bM`, int64 (b, M), has one value for each element; each row must sum to 0. The result is int64 (b, M). The values
        with the same rank include that of the element itself.

        Let P[i] be the sum of the values of the first i elements in the order of the ranks. If the elements with the rank of an
        element stand in this order at the positions j to k, counted from 0, the result of the element is ``-(P[j] + P[k + 1])``.
        Without ties, j equals k.
        """
        positions_bM = _positions(self.order_bM)
        sorted_bM = values_bM.ravel().take(positions_bM)
        prefix_bM = np.cumsum(sorted_bM, axis=1)
        if self.tied_t.size:
            before_tM = prefix_bM[self.tied_t] - sorted_bM[self.tied_t]
            through_tM = prefix_bM[self.tied_t]
        prefix_bM *= -2
        prefix_bM += sorted_bM
        if self.tied_t.size:
            prefix_bM[self.tied_t] = -(
                np.take_along_axis(before_tM, self.first_tM, axis=1)
                + np.take_along_axis(through_tM, self.last_tM, axis=1)
            )
        sorted_bM.ravel()[positions_bM] = prefix_bM
        return sorted_bM

    def variance_influence(self) -> NDArray[np.float64]:
        """Return the influence of each element on the variance of the ranks, relative to that variance.

        Returns
        -------
        numpy.ndarray
            float64 (t, M), for the t rows with ties only: without ties the variance is constant, and every influence on it is 0.
            A list of equal values has a row of 0.
        """
        M = self.ranks_bM.shape[1]
        first_tM, end_tM, squares_t = self.first_tM, self.last_tM + 1, self.squares_b[self.tied_t, None]
        # The first j ranks sum to j (j - M), and `upper_sums` of the ranks themselves is minus two such sums.
        influence_tM = (first_tM + end_tM - M) ** 2
        influence_tM -= 2 * (first_tM * (first_tM - M) + end_tM * (end_tM - M))
        influence_tM *= M
        sorted_tM = _ratio(influence_tM - 3 * squares_t, squares_t)
        variance_tM = np.empty_like(sorted_tM)
        variance_tM.ravel()[_positions(self.order_bM[self.tied_t])] = sorted_tM
        return variance_tM


@dataclass(frozen=True)
class CompactRanking:
    """The ranks of b lists of M elements in less than half of the memory of a `Ranking`.

    Attributes
    ----------
    ranks_bM, order_bM, squares_b
        As in `Ranking`, but int32 (b, M) and (b, M), and float64 (b,).
    """

    ranks_bM: NDArray[np.int32]
    order_bM: NDArray[np.int32]
    squares_b: NDArray[np.float64]

    @classmethod
    def of(cls, values_bM: NDArray[np.float64]) -> CompactRanking:
        """Rank every row of `values_bM`, float64 (b, M), some rows at a time."""
        b, M = values_bM.shape
        compact = cls(np.empty((b, M), dtype=np.int32), np.empty((b, M), dtype=np.int32), np.empty(b))
        step = max(1, RANKED_NUMBERS // M)
        for start in range(0, b, step):
            rows = slice(start, start + step)
            ranking = rank_rows(np.ascontiguousarray(values_bM[rows]))
            compact.ranks_bM[rows], compact.order_bM[rows] = ranking.ranks_bM, ranking.order_bM
            compact.squares_b[rows] = ranking.squares_b
        return compact

    def rows(self, start: int, stop: int) -> CompactRanking:
        """Return the lists from `start` up to but not including `stop`, without copying."""
        return CompactRanking(self.ranks_bM[start:stop], self.order_bM[start:stop], self.squares_b[start:stop])

    def expanded(self) -> Ranking:
        """Return the same ranking in the form that numpy computes with."""
        order_bM = self.order_bM.astype(np.intp)
        ranks_bM = self.ranks_bM.astype(np.int64)
        M = ranks_bM.shape[1]
        tied_t = np.flatnonzero(self.squares_b != M * (M * M - 1) // 3)  # ties make the sum of squares smaller
        sorted_tM = np.take_along_axis(self.ranks_bM[tied_t], order_bM[tied_t], axis=1)
        _, first_tM, last_tM = _ties(sorted_tM[:, 1:] == sorted_tM[:, :-1])
        return Ranking(ranks_bM, order_bM, tied_t, first_tM, last_tM, self.squares_b)


def rank_rows(values_bM: NDArray[np.float64]) -> Ranking:
    """Rank every row of `values_bM`, float64 (b, M); ties share their average rank, as in `scipy.stats.rankdata`."""
    order_bM = np.argsort(values_bM, axis=1)
    sorted_bM = np.take_along_axis(values_bM, order_bM, axis=1)
    return _ranking(order_bM, sorted_bM[:, 1:] == sorted_bM[:, :-1])


def rank_integers(values_bM: NDArray[np.float64]) -> Ranking:
    """Rank every row of `values_bM`, float64 integers of magnitude below 2**53; ties share their average rank.

    The result has the same ranks as that of `rank_rows`. Sorting integers that hold both value and position is several times
    faster than an argsort. If the range of the values of any row is too large for such integers, `rank_rows` ranks all rows.
    """
    M = values_bM.shape[1]
    bits = (M - 1).bit_length()
    keys_bM = values_bM.astype(np.int64)
    keys_bM -= keys_bM.min(axis=1, keepdims=True)
    if int(keys_bM.max()).bit_length() + bits > KEY_BITS:
        return rank_rows(values_bM)
    keys_bM <<= bits
    keys_bM |= np.arange(M)
    keys_bM.sort(axis=1)
    equal = (keys_bM[:, 1:] ^ keys_bM[:, :-1]) >> bits == 0
    keys_bM &= (1 << bits) - 1
    return _ranking(keys_bM, equal)


def _ranking(order_bM: NDArray[np.intp], equal: NDArray[np.bool_]) -> Ranking:
    """Return the ranking of b lists that have already been sorted.

    Parameters
    ----------
    order_bM
        Positions of the elements of each list in increasing order of value, (b, M).
    equal
        Whether each element in this order has the same value as the next element, bool (b, M - 1).
    """
    b, M = order_bM.shape
    tied_t, first_tM, last_tM = _ties(equal)
    ranks_bM = np.empty((b, M), dtype=np.int64)
    ranks_bM.ravel()[_positions(order_bM)] = 2 * np.arange(M) - (M - 1)
    if tied_t.size:
        ranks_tM = np.empty_like(first_tM)
        np.put_along_axis(ranks_tM, order_bM[tied_t], first_tM + last_tM - (M - 1), axis=1)
        ranks_bM[tied_t] = ranks_tM
    squares_b = np.einsum("bM,bM->b", ranks_bM, ranks_bM).astype(np.float64)
    return Ranking(ranks_bM, order_bM, tied_t, first_tM, last_tM, squares_b)


def _ties(equal: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return `Ranking.tied_t`, `Ranking.first_tM` and `Ranking.last_tM`; `equal` is as in `_ranking`."""
    tied_t, M = np.flatnonzero(equal.any(axis=1)), equal.shape[1] + 1
    first_tM = np.zeros((tied_t.size, M), dtype=np.intp)
    last_tM = np.full((tied_t.size, M), M - 1, dtype=np.intp)
    if tied_t.size:
        places = np.arange(M)
        first_tM[:, 1:] = np.where(equal[tied_t], 0, places[1:])
        last_tM[:, :-1] = np.where(equal[tied_t], M - 1, places[:-1])
        np.maximum.accumulate(first_tM, axis=1, out=first_tM)
        last_tM = np.minimum.accumulate(last_tM[:, ::-1], axis=1)[:, ::-1]
    return tied_t, first_tM, last_tM


def spearman(f: Ranking, g: Ranking) -> NDArray[np.float64]:
    """Return Spearman's rho of each row of `f` with the same row of `g`, float64 (b,); 0 if either row is constant."""
    return _ratio(np.einsum("bM,bM->b", f.ranks_bM, g.ranks_bM), np.sqrt(f.squares_b * g.squares_b))


def spearman_influence(f: Ranking, g: Ranking) -> NDArray[np.float64]:
    """Return the influence of each element on Spearman's rho of each row of `f` with the same row of `g`.

    Parameters
    ----------
    f, g
        Rankings of b lists of M elements.

    Returns
    -------
    numpy.ndarray
        float64 (b, M); a row of 0 where the list of `f` or of `g` is constant.

    Notes
    -----
    The influence function is that of Croux and Dehon [1]_, extended to ties, which share their average rank. For one row of each
    ranking, the influence of element i is::

        influence[i] = c[i] / d - rho / 2 * (V_f[i] + V_g[i])
        c[i] = M * (f[i] * g[i] + W_fg[i] + W_gf[i]) - 3 * S_fg

    - f[i], g[i]: centred rank of element i in each list.
    - S_fg: sum of ``f[i] * g[i]`` over all elements; likewise S_ff and S_gg.
    - d: ``sqrt(S_ff * S_gg)``.
    - rho: ``S_fg / d``.
    - W_fg: `Ranking.upper_sums` of the values g in the ranking f; likewise W_gf.
    - V_f: `Ranking.variance_influence` of f, 0 for a list without ties; likewise V_g.

    References
    ----------
    .. [1] C. Croux and C. Dehon, "Influence functions of the Spearman and Kendall correlation measures", Statistical Methods &
           Applications 19 (2010), 497-515.
    """
    products_b = np.einsum("bM,bM->b", f.ranks_bM, g.ranks_bM)
    scale_b = np.sqrt(f.squares_b * g.squares_b)
    c_bM = f.ranks_bM * g.ranks_bM
    c_bM += f.upper_sums(g.ranks_bM)
    c_bM += g.upper_sums(f.ranks_bM)
    c_bM *= f.ranks_bM.shape[1]
    c_bM -= 3 * products_b[:, None]
    influence_bM = _ratio(c_bM, scale_b[:, None])
    tied_t = np.union1d(f.tied_t, g.tied_t)
    if tied_t.size:
        variances_tM = np.zeros((tied_t.size, f.ranks_bM.shape[1]))
        for ranking in (f, g):
            variances_tM[np.searchsorted(tied_t, ranking.tied_t)] += ranking.variance_influence()
        rho_t = _ratio(products_b, scale_b)[tied_t]
        influence_bM[tied_t] -= (rho_t / 2)[:, None] * variances_tM
    return influence_bM


def _positions(order_bM: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the positions in the flattened array, (b, M), that correspond to positions within each row, (b, M)."""
    b, M = order_bM.shape
    positions_bM: NDArray[np.intp] = order_bM + (np.arange(b) * M)[:, None]
    return positions_bM


def _ratio(numerator: NDArray[np.int64] | NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the numerator divided by the denominator, and 0 where the denominator is 0."""
    nonzero = denominator != 0
    if nonzero.all():
        return numerator / denominator
    return np.where(nonzero, numerator / np.where(nonzero, denominator, 1.0), 0.0)

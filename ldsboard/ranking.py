"""Average ranks as integers, and the Spearman influence function in their terms.

A rank here is centred and doubled: ``2 * rank - (M + 1)``, an integer between -(M - 1) and M - 1 whose sum is 0, so that every
sum and product below is an integer that both int64 and float64 hold exactly (up to M = 50,000).

Legend: M subsets, b targets of one block, t those of them that have ties, f and g centred ranks of two lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_SUBSETS = 50_000
"""The largest M whose sums, at a scale of 4 M**3, stay below 2**53."""

KEY_BITS = 63
"""Room of a key in which a value and its position are sorted together."""


@dataclass(frozen=True)
class Ranking:
    """The ranks of several lists, one a row, with what their influence function needs.

    Attributes
    ----------
    ranks_bM
        Centred ranks, int64 (b, M).
    order_bM
        Positions in increasing order, intp (b, M); arbitrary within ties.
    tied_t
        The t rows that have ties, in increasing order.
    first_tM, last_tM
        For those rows, in sorted order, where each element's group of equals begins and ends.
    squares_b
        Sum of squared ranks, integers as float64 (b,); 0 for a constant list.
    """

    ranks_bM: NDArray[np.int64]
    order_bM: NDArray[np.intp]
    tied_t: NDArray[np.intp]
    first_tM: NDArray[np.intp]
    last_tM: NDArray[np.intp]
    squares_b: NDArray[np.float64]

    def rows(self, start: int, stop: int) -> Ranking:
        """Return the ranking of a contiguous part of the lists, without copying."""
        low, high = np.searchsorted(self.tied_t, (start, stop))
        return Ranking(
            self.ranks_bM[start:stop],
            self.order_bM[start:stop],
            self.tied_t[low:high] - start,
            self.first_tM[low:high],
            self.last_tM[low:high],
            self.squares_b[start:stop],
        )

    def upper_sums(self, values_bM: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return, for every element, twice the sum of `values_bM` over strictly higher ranks plus that over equal ones.

        The rows of `values_bM` must each sum to 0. With prefix sums P in sorted order and a group of equals from i to k,
        the result is ``-(P[i] + P[k + 1])``; without ties i = k.
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
        """Return each element's influence on the variance of the ranks, over that variance, (t, M): rows with ties only.

        Without ties the variance is a constant, and has no influence. Rows of equal values are 0.
        """
        M = self.ranks_bM.shape[1]
        rows = self.tied_t
        ranks_tM, squares_t = self.ranks_bM[rows], self.squares_b[rows]
        tied = Ranking(ranks_tM, self.order_bM[rows], np.arange(rows.size), self.first_tM, self.last_tM, squares_t)
        influence_tM = M * (ranks_tM**2 + 2 * tied.upper_sums(ranks_tM)) - 3 * squares_t[:, None]
        return _ratio(influence_tM, squares_t[:, None])


def rank_rows(values_bM: NDArray[np.float64]) -> Ranking:
    """Rank every row of `values_bM`, (b, M), equal values sharing their average rank as in ``scipy.stats.rankdata``."""
    order_bM = np.argsort(values_bM, axis=1)
    sorted_bM = np.take_along_axis(values_bM, order_bM, axis=1)
    return _ranking(order_bM, sorted_bM[:, 1:] == sorted_bM[:, :-1])


def rank_integers(values_bM: NDArray[np.float64]) -> Ranking:
    """Do the same as `rank_rows` for integers of magnitude below 2**53, in less time.

    Value and position are packed into one integer, which sorts several times faster than positions by value. Where the values
    of a row spread too far for that, all rows go the general way.
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
    """Build a ranking from the sorted order, and from which neighbours in it are equal, (b, M - 1)."""
    b, M = order_bM.shape
    tied_t = np.flatnonzero(equal.any(axis=1))
    places = np.arange(M)
    ranks_bM = np.empty((b, M), dtype=np.int64)
    ranks_bM.ravel()[_positions(order_bM)] = 2 * places - (M - 1)
    first_tM = np.zeros((tied_t.size, M), dtype=np.intp)
    last_tM = np.full((tied_t.size, M), M - 1, dtype=np.intp)
    if tied_t.size:
        first_tM[:, 1:] = np.where(equal[tied_t], 0, places[1:])
        last_tM[:, :-1] = np.where(equal[tied_t], M - 1, places[:-1])
        np.maximum.accumulate(first_tM, axis=1, out=first_tM)
        last_tM = np.minimum.accumulate(last_tM[:, ::-1], axis=1)[:, ::-1]
        ranks_tM = np.empty_like(first_tM)
        np.put_along_axis(ranks_tM, order_bM[tied_t], first_tM + last_tM - (M - 1), axis=1)
        ranks_bM[tied_t] = ranks_tM
    squares_b = np.einsum("bM,bM->b", ranks_bM, ranks_bM).astype(np.float64)
    return Ranking(ranks_bM, order_bM, tied_t, first_tM, last_tM, squares_b)


def spearman(f: Ranking, g: Ranking) -> NDArray[np.float64]:
    """Return Spearman's rho of each pair of rows, float64 (b,): the Pearson correlation of ranks; 0 where one is constant."""
    return _ratio(np.einsum("bM,bM->b", f.ranks_bM, g.ranks_bM), np.sqrt(f.squares_b * g.squares_b))


def spearman_influence(f: Ranking, g: Ranking) -> NDArray[np.float64]:
    """Return the influence function of Spearman's rho, corrected for ties.

    After Croux and Dehon (2010), "Influence functions of the Spearman and Kendall correlation measures", with mid-ranks F and
    G and the variances of both as further functionals. In centred ranks, with W the upper sums,
    ``IF_i = c_i / d - (rho / 2) * (vf_i / S_ff + vg_i / S_gg)``, where ``d = sqrt(S_ff * S_gg)`` and
    ``c_i = M * (f_i * g_i + W_fg_i + W_gf_i) - 3 * S_fg``.

    Parameters
    ----------
    f, g
        Rankings of b lists of M elements.

    Returns
    -------
    numpy.ndarray
        float64 (b, M); rows of 0 where one of the lists is constant.
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
    """Return the order of every row as positions in the flattened array."""
    b, M = order_bM.shape
    positions_bM: NDArray[np.intp] = order_bM + (np.arange(b) * M)[:, None]
    return positions_bM


def _ratio(numerator: NDArray[np.int64] | NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide, with 0 where the denominator is 0."""
    ratio = numerator / np.where(denominator == 0, 1.0, denominator)
    ratio *= denominator != 0
    return ratio

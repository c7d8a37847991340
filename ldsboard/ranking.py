"""Average ranks as integers, and the Spearman influence function in their terms.

A rank here is centred and doubled: ``2 * rank - (M + 1)``, an integer between -(M - 1) and M - 1 whose sum is 0, so that every
sum and product below is an integer that float64 holds exactly (up to M = 50,000).

Legend: M subsets, b targets of one block, f and g centred ranks of two lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_SUBSETS = 50_000
"""The largest M whose sums, at a scale of 4 M**3, stay below 2**53."""


@dataclass(frozen=True)
class Ranking:
    """The ranks of several lists, one a row, with what their influence function needs.

    Attributes
    ----------
    ranks_bM
        Centred ranks, integers as float64 (b, M).
    order_bM
        Positions in increasing order, intp (b, M); arbitrary within ties.
    tied_t
        The t rows that have ties.
    first_tM, last_tM
        For those rows, in sorted order, where each element's group of equals begins and ends.
    squares_b
        Sum of squared ranks, float64 (b,); 0 for a constant list.
    """

    ranks_bM: NDArray[np.float64]
    order_bM: NDArray[np.intp]
    tied_t: NDArray[np.intp]
    first_tM: NDArray[np.intp]
    last_tM: NDArray[np.intp]
    squares_b: NDArray[np.float64]

    def upper_sums(self, values_bM: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return, for every element, twice the sum of `values_bM` over strictly higher ranks plus that over equal ones.

        The rows of `values_bM` must each sum to 0. With prefix sums P in sorted order and a group of equals from i to k,
        the result is ``-(P[i] + P[k + 1])``.
        """
        b, M = values_bM.shape
        prefix = np.zeros((b, M + 1))
        np.cumsum(np.take_along_axis(values_bM, self.order_bM, axis=1), axis=1, out=prefix[:, 1:])
        sorted_sums = -(prefix[:, :-1] + prefix[:, 1:])
        if self.tied_t.size:
            tied = prefix[self.tied_t]
            sorted_sums[self.tied_t] = -(
                np.take_along_axis(tied, self.first_tM, axis=1) + np.take_along_axis(tied, self.last_tM + 1, axis=1)
            )
        sums = np.empty_like(values_bM)
        np.put_along_axis(sums, self.order_bM, sorted_sums, axis=1)
        return sums

    def variance_influence(self) -> NDArray[np.float64]:
        """Return the influence of each element on the variance of the ranks, scaled by 4 M**3; 0 in rows without ties."""
        M = self.ranks_bM.shape[1]
        influence = np.zeros_like(self.ranks_bM)
        if self.tied_t.size:
            sums = self.upper_sums(self.ranks_bM)[self.tied_t]
            squares = self.squares_b[self.tied_t, None]
            influence[self.tied_t] = M * (self.ranks_bM[self.tied_t] ** 2 + 2 * sums) - 3 * squares
        return influence


def rank_rows(values_bM: NDArray[np.float64]) -> Ranking:
    """Rank every row of `values_bM`, (b, M), equal values sharing their average rank as in ``scipy.stats.rankdata``."""
    _, M = values_bM.shape
    order_bM = np.argsort(values_bM, axis=1)
    sorted_bM = np.take_along_axis(values_bM, order_bM, axis=1)
    equal = sorted_bM[:, 1:] == sorted_bM[:, :-1]
    tied_t = np.flatnonzero(equal.any(axis=1))
    places = np.arange(M)
    first_tM = np.zeros((tied_t.size, M), dtype=np.intp)
    last_tM = np.full((tied_t.size, M), M - 1, dtype=np.intp)
    first_tM[:, 1:] = np.where(equal[tied_t], 0, places[1:])
    last_tM[:, :-1] = np.where(equal[tied_t], M - 1, places[:-1])
    np.maximum.accumulate(first_tM, axis=1, out=first_tM)
    last_tM = np.minimum.accumulate(last_tM[:, ::-1], axis=1)[:, ::-1]
    sorted_ranks = np.broadcast_to(2.0 * places - (M - 1), values_bM.shape)
    if tied_t.size:
        sorted_ranks = sorted_ranks.copy()
        sorted_ranks[tied_t] = first_tM + last_tM - (M - 1)
    ranks_bM = np.empty(values_bM.shape)
    np.put_along_axis(ranks_bM, order_bM, sorted_ranks, axis=1)
    squares_b = np.einsum("bM,bM->b", ranks_bM, ranks_bM)
    return Ranking(ranks_bM, order_bM, tied_t, first_tM, last_tM, squares_b)


def spearman(f: Ranking, g: Ranking) -> NDArray[np.float64]:
    """Return Spearman's rho of each pair of rows, float64 (b,): the Pearson correlation of ranks; 0 where one is constant."""
    products_b = np.einsum("bM,bM->b", f.ranks_bM, g.ranks_bM)
    return _ratio(products_b, np.sqrt(f.squares_b * g.squares_b))


def spearman_influence(f: Ranking, g: Ranking, g_variance_bM: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the influence function of Spearman's rho, corrected for ties.

    After Croux and Dehon (2010), "Influence functions of the Spearman and Kendall correlation measures", with mid-ranks F and
    G and the variances of both as further functionals. In centred ranks, with W the upper sums,
    ``IF_i = c_i / d - (rho / 2) * (vf_i / S_ff + vg_i / S_gg)``, where ``d = sqrt(S_ff * S_gg)`` and
    ``c_i = M * (f_i * g_i + W_fg_i + W_gf_i) - 3 * S_fg``.

    Parameters
    ----------
    f, g
        Rankings of b lists of M elements.
    g_variance_bM
        ``g.variance_influence()``, which a caller may keep.

    Returns
    -------
    numpy.ndarray
        float64 (b, M); rows of 0 where one of the lists is constant.
    """
    M = f.ranks_bM.shape[1]
    products_b = np.einsum("bM,bM->b", f.ranks_bM, g.ranks_bM)
    scale_b = np.sqrt(f.squares_b * g.squares_b)
    rho_b = _ratio(products_b, scale_b)
    c_bM = f.ranks_bM * g.ranks_bM + f.upper_sums(g.ranks_bM) + g.upper_sums(f.ranks_bM)
    c_bM = M * c_bM - 3 * products_b[:, None]
    variances_bM = _ratio(f.variance_influence(), f.squares_b[:, None]) + _ratio(g_variance_bM, g.squares_b[:, None])
    return _ratio(c_bM, scale_b[:, None]) - (rho_b / 2)[:, None] * variances_bM


def _ratio(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide, with 0 where the denominator is 0."""
    safe = np.where(denominator == 0, 1.0, denominator)
    return np.where(denominator == 0, 0.0, numerator / safe)

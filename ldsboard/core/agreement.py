"""Agreement of repeated runs: Spearman correlations on many unions of groups of subsets, without ranking again.

The margins of one run at one target are a list with one element for each subset. The subsets form g groups. The doubled centred
rank of element i is a sum of signs over all elements j of the list, ``f_i = sum_j sign(x_i - x_j)``, with or without ties. On a
union of groups this sum runs over these groups only. Let F[a, i] be the sum over the elements j of group a, and let H[b, i] be
this sum for the list of another run. The sum of products of ranks on a union U of groups is then the sum of T[c, a, b] over all
a, b, c in U, where ``T[c, a, b]`` is the sum of ``F[a, i] * H[b, i]`` over the elements i of group c. T has g**3 elements for
each target, and gives the correlations on all unions by one matrix product. All sums are integers below 2**53, so that they are
exact.

Legend: M subsets, R runs, N targets, b targets of one block, g groups, q elements of a group, P unions of groups.
"""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import TYPE_CHECKING

import numpy as np

from ldsboard.core.ranking import rank_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ldsboard.core.ranking import Ranking

BLOCK_NUMBERS = 2**23
"""Number of group ranks that are held at a time."""


def agreement_on_unions(margins_MRN: NDArray[np.floating], unions_Pg: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the Spearman correlation between the margins of two runs, averaged over all pairs of runs, on unions of groups.

    Parameters
    ----------
    margins_MRN
        Margins of every run, real, (M, R, N), with R >= 2.
    unions_Pg
        Whether each union of groups contains each of the g groups, bool (P, g). Subset i is in group i mod g.

    Returns
    -------
    numpy.ndarray
        float64 (P, N). The correlation with a run whose margins are equal on the whole union counts as 0.
    """
    M, R, N = margins_MRN.shape
    P, g = unions_Pg.shape
    weights_Pg = unions_Pg.astype(np.float64)
    triples = np.einsum("Pa,Pb,Pc->Pabc", weights_Pg, weights_Pg, weights_Pg).reshape(P, -1)
    agreement_PN = np.empty((P, N))
    step = max(1, BLOCK_NUMBERS // (M * R * g))
    for start in range(0, N, step):
        block_RbM = np.ascontiguousarray(margins_MRN[:, :, start : start + step].transpose(1, 2, 0), dtype=np.float64)
        runs = [group_ranks(rank_rows(run_bM), g) for run_bM in block_RbM]
        sums = {
            (r, s): triples @ np.matmul(runs[r].swapaxes(2, 3), runs[s]).reshape(len(runs[r]), -1).T
            for r, s in combinations_with_replacement(range(R), 2)
        }
        correlations = [_ratio(sums[r, s], sums[r, r] * sums[s, s]) for r, s in sums if r != s]
        agreement_PN[:, start : start + step] = np.mean(correlations, axis=0)
    return agreement_PN


def group_ranks(ranking: Ranking, g: int) -> NDArray[np.float64]:
    """Return the doubled centred rank of each element within each group: the sum of ``sign(x_i - x_j)`` over j in the group.

    Parameters
    ----------
    ranking
        Ranking of b lists of M elements; element i is in group i mod g.
    g
        Number of groups.

    Returns
    -------
    numpy.ndarray
        Integers as float64 (b, g, q, g). The second index is the group of element i, the third index counts the elements of this
        group, and the last index is the group over which the signs are summed. Groups that are one element shorter end with 0.
    """
    b, M = ranking.ranks_bM.shape
    member = (ranking.order_bM % g)[:, :, None] == np.arange(g)
    through = member.cumsum(axis=1, dtype=np.int64)  # elements of each group up to and including a sorted position
    before = through - member
    if (tied_t := ranking.tied_t).size:
        before[tied_t] = np.take_along_axis(before[tied_t], ranking.first_tM[:, :, None], axis=1)
        through[tied_t] = np.take_along_axis(through[tied_t], ranking.last_tM[:, :, None], axis=1)
    longest = -(-M // g)
    ranks = np.zeros((b, longest * g, g))
    np.put_along_axis(ranks, ranking.order_bM[:, :, None], before + through - through[:, -1:], axis=1)
    return ranks.reshape(b, longest, g, g).swapaxes(1, 2)


def _ratio(products: NDArray[np.float64], squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the correlations, and 0 where the ranks of a run are constant."""
    return np.where(squares == 0, 0.0, products / np.sqrt(np.where(squares == 0, 1.0, squares)))

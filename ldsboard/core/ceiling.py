"""The noise ceiling and the null band of a benchmark, computed from its margins alone.

Legend: M subsets, R runs, N targets, g groups of subsets, P unions of groups, S unions of half of the groups.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from ldsboard.core.agreement import agreement_on_unions
from ldsboard.core.chance import scaled_rows
from ldsboard.core.ranking import rank_rows
from ldsboard.counts import count
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from numpy.typing import NDArray

GROUPS = 10
"""Number of groups of subsets in the jackknife of the noise ceiling. Every choice of half of the groups is used."""

MIN_CEILING_SUBSETS = 64
"""Smallest number of subsets from which the noise ceiling is estimated; with fewer, bias and spread are too large."""


MAX_SHARE_ERROR = 0.1
"""Largest ratio of the standard error of a noise ceiling to the ceiling for which shares of the ceiling are computed."""


@dataclass(frozen=True)
class NoiseCeiling:
    """The LDS that no function of the subset can be expected to exceed, estimated from repeated runs.

    Attributes
    ----------
    value, std_error
        Mean over targets of the ceiling of each target, corrected for bias and limited to 0 to 1, and the standard error of this
        corrected mean; both by a jackknife over groups of subsets.
    unreliable_targets
        Number of targets whose runs correlate negatively on average; the ceiling of such a target is 0.
    """

    value: float
    std_error: float
    unreliable_targets: int


@dataclass(frozen=True)
class MarginSpectrum:
    """The widths of two null bands of a benchmark, and the number from which `attempt_gain` computes its bound.

    C is the N x N matrix of the rank correlations between the margins of every two targets. M is the number of subsets.

    Attributes
    ----------
    unrelated
        Half width of the null band for scores whose columns are random and independent, ``3 / sqrt(N (M - 1))``. The LDS of such
        scores is between -`unrelated` and `unrelated` with a probability of 99.7 %.
    shared
        Half width of the null band for scores with the same random column for every target, ``3 sqrt(mean(C) / (M - 1))``.
    attempts
        Largest eigenvalue of C, divided by N. From this number, `attempt_gain` bounds the gain from repeated attempts.
    """

    unrelated: float
    shared: float
    attempts: float


def noise_ceiling(margins_MRN: NDArray[np.floating]) -> NoiseCeiling:
    """Estimate the noise ceiling of scores that are evaluated against the mean of the margins over R >= 2 runs.

    For each target, r is the Spearman correlation between the margins of two runs, averaged over all pairs of runs, and 0 if this
    average is negative. The ceiling of the target is ``sqrt(R r / (1 + (R - 1) r))``, the square root of the Spearman-Brown
    reliability of the mean over runs. For ranks this formula is an approximation. The estimate is too high if a few runs diverge.

    Let t be the mean of this ceiling over targets. With few subsets and noisy runs, t is too low. The jackknife of half of the
    subsets (Quenouille 1956) therefore corrects t: ``2 t - mean(t_S)``. Subset i is in group i mod 10, and t_S is t on the
    subsets of 5 groups; the mean is over all 252 choices S of 5 groups. The result is limited to 0 to 1.

    The standard error is that of the delete-a-group jackknife of the corrected value. Without group k, of 9 groups, the corrected
    value is ``c_k = (9 t_k - 5 mean(t_S)) / 4``, where t_k is t without the subsets of group k, and the mean is over the 126
    choices S that do not contain k. The standard error is ``sqrt(9 / 10 * sum((c_k - mean(c_k))**2))``.

    Parameters
    ----------
    margins_MRN
        Margins of every run, real, (M, R, N).

    Returns
    -------
    NoiseCeiling
        The corrected mean ceiling over targets, its standard error, and the number of unreliable targets.

    Raises
    ------
    ProblemError
        ``margins.invalid``: there are fewer than two runs, or fewer than 64 subsets, too few to know the ceiling.
    """
    M, R, _ = margins_MRN.shape
    if not can_know_ceiling(M, R):
        raise ProblemError.mismatch(
            "margins.invalid",
            expected=f"at least 2 runs of at least {MIN_CEILING_SUBSETS} subsets, as margins of shape (M, R, N)",
            got=f"{count(R, 'run')} of {count(M, 'subset')}",
            hint=f"These are too few subsets to know the noise ceiling. Train on at least {MIN_CEILING_SUBSETS} subsets."
            if R > 1
            else "Train at least 2 models on every subset, each with another initialisation and order of examples.",
        )
    half = GROUPS // 2
    halves = _choices(half)
    agreement_PN = agreement_on_unions(margins_MRN, np.vstack([_choices(GROUPS), _choices(GROUPS - 1), halves]))
    positive_PN = np.maximum(agreement_PN, 0.0)
    t_P = np.sqrt(R * positive_PN / (1 + (R - 1) * positive_PN)).mean(axis=1)
    whole, left_out_g, t_S = float(t_P[0]), t_P[1 : GROUPS + 1], t_P[GROUPS + 1 :]
    corrected = (GROUPS * whole - half * float(t_S.mean())) / (GROUPS - half)
    # The choices of 9 groups are in the order of combinations: the first choice leaves out the last group.
    left_out_g = left_out_g[::-1]
    mean_g = np.array([t_S[~halves[:, group]].mean() for group in range(GROUPS)])
    corrected_g = ((GROUPS - 1) * left_out_g - half * mean_g) / (GROUPS - 1 - half)
    variance = (GROUPS - 1) / GROUPS * float(np.sum((corrected_g - corrected_g.mean()) ** 2))
    unreliable = int((agreement_PN[0] < 0).sum())
    return NoiseCeiling(min(max(corrected, 0.0), 1.0), math.sqrt(variance), unreliable)


def _choices(size: int) -> NDArray[np.bool_]:
    """Return all choices of `size` groups as rows, bool (P, GROUPS)."""
    chosen = list(combinations(range(GROUPS), size))
    choices = np.zeros((len(chosen), GROUPS), dtype=np.bool_)
    np.put_along_axis(choices, np.array(chosen), values=True, axis=1)
    return choices


def can_know_ceiling(M: int, R: int) -> bool:
    """Return whether the noise ceiling can be estimated from R runs of M subsets."""
    return R > 1 and M >= MIN_CEILING_SUBSETS


def share_of_ceiling(lds: float, ceiling: float, std_error: float) -> float | None:
    """Return the LDS divided by the noise ceiling; None if the ceiling is 0 or its standard error exceeds a tenth of the ceiling.

    Division by a ceiling with a larger error would make the share wrong on average.
    """
    return lds / ceiling if ceiling > 0 and std_error <= MAX_SHARE_ERROR * ceiling else None


def ceiling_text(value: float | None, std_error: float | None, R: int) -> str:
    """Return the noise ceiling with its standard error as a text, or, if the ceiling is None, why it is unknown."""
    if value is not None and std_error is not None:
        return f"{value:.3f} ± {std_error:.3f}"
    if R > 1:
        return f"unknown: it needs at least {MIN_CEILING_SUBSETS} ranking subsets"
    return "unknown: it needs at least two runs of each subset"


def margin_spectrum(margins_MN: NDArray[np.float64]) -> MarginSpectrum:
    """Return the `MarginSpectrum` of a benchmark; `margins_MN` are the means of the margins over runs, float64 (M, N)."""
    M, N = margins_MN.shape
    unit_NM = scaled_rows(rank_rows(np.ascontiguousarray(margins_MN.T)))
    mean_correlation = float(np.sum(unit_NM.sum(axis=0) ** 2)) / N**2
    gram = unit_NM @ unit_NM.T if N <= M else unit_NM.T @ unit_NM
    return MarginSpectrum(
        unrelated=3 / math.sqrt(N * (M - 1)),
        shared=3 * math.sqrt(mean_correlation / (M - 1)),
        attempts=float(np.linalg.eigvalsh(gram)[-1]) / N,
    )


def attempt_gain(lds: float, attempts: int, spectrum: float, M: int) -> float:
    """Return an upper bound on the average gain in LDS that a submitter can obtain from the results of k earlier attempts.

    A submitter whose method has an LDS of L can reach at most ``sqrt(L**2 + k S / (M - 1))`` on average by using the results of
    k attempts, where S is `spectrum`. If the submitter reached `lds`, the gain is therefore at most
    ``lds - sqrt(max(0, lds**2 - k S / (M - 1)))``.

    Parameters
    ----------
    lds
        LDS that the submitter reached. For a negative LDS the bound is 0.
    attempts
        Number of attempts k.
    spectrum
        S, the largest eigenvalue of the correlation matrix C divided by N, as in `MarginSpectrum.attempts`.
    M
        Number of subsets.

    Returns
    -------
    float
        The bound; at least 0.
    """
    reached = max(lds, 0.0)
    return reached - math.sqrt(max(0.0, reached**2 - attempts * spectrum / (M - 1)))

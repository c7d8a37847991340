"""The noise ceiling and the null band of a benchmark, computed from its margins alone.

Legend: M subsets, R runs, N targets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from ldsboard.core.chance import scaled_rows
from ldsboard.core.ranking import rank_rows, spearman
from ldsboard.counts import count
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from numpy.typing import NDArray

JACKKNIFE_GROUPS = 20
"""Number of groups of subsets in the delete-a-group jackknife of the noise ceiling."""

MIN_CEILING_SUBSETS = 64
"""Smallest number of subsets from which the noise ceiling is estimated; with fewer, bias and spread are too large."""


@dataclass(frozen=True)
class NoiseCeiling:
    """The LDS that no function of the subset can be expected to exceed, estimated from repeated runs.

    Attributes
    ----------
    value, std_error
        Mean over targets of the ceiling of each target, corrected for bias and limited to 0 to 1, and the standard error of this
        mean; both by a delete-a-group jackknife over the subsets.
    unreliable_targets
        Number of targets whose runs correlate negatively on average; the ceiling of such a target is 0.
    """

    value: float
    std_error: float
    unreliable_targets: int


@dataclass(frozen=True)
class MarginSpectrum:
    """The null band of a benchmark and a bound on the gain from repeated attempts, both from a correlation matrix C.

    C is the N x N matrix of the rank correlations between the margins of every two targets.

    Attributes
    ----------
    unrelated
        Half width of the null band for scores whose columns are random and independent, ``3 / sqrt(N (M - 1))``. The LDS of such
        scores is between -`unrelated` and `unrelated` with a probability of 99.7 %.
    shared
        Half width of the null band for scores with the same random column for every target, ``3 sqrt(mean(C) / (M - 1))``.
    attempts
        Largest eigenvalue of C, divided by N. `attempt_gain` computes the bound from this number.
    """

    unrelated: float
    shared: float
    attempts: float


def noise_ceiling(margins_MRN: NDArray[np.floating]) -> NoiseCeiling:
    """Estimate the noise ceiling of scores that are evaluated against the mean of the margins over R >= 2 runs.

    For each target, r is the Spearman correlation between the margins of two runs, averaged over all pairs of runs, and 0 if this
    average is negative. The ceiling of the target is ``sqrt(R r / (1 + (R - 1) r))``, the square root of the Spearman-Brown
    reliability of the mean over runs. For ranks this formula is an approximation. The estimate is too high if a few runs diverge.

    Let t be the mean of this ceiling over targets. With few subsets and noisy runs, t is too low. A delete-a-group jackknife
    (Quenouille 1956) therefore corrects t: ``g t - (g - 1) mean(t_k)``, where t_k is computed without the subsets of group k, and
    subset i is in group i mod g, with g = 20. The result is limited to 0 to 1.

    Parameters
    ----------
    margins_MRN
        Margins of every run, real, (M, R, N).

    Returns
    -------
    NoiseCeiling
        The corrected mean ceiling over targets, the standard error of this mean, and the number of unreliable targets.

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
    whole, unreliable = uncorrected_ceiling(margins_MRN)
    group_M = np.arange(M) % JACKKNIFE_GROUPS
    left_out = np.array([uncorrected_ceiling(margins_MRN[group_M != group])[0] for group in range(JACKKNIFE_GROUPS)])
    others = JACKKNIFE_GROUPS - 1
    corrected = JACKKNIFE_GROUPS * whole - others * float(left_out.mean())
    variance = others / JACKKNIFE_GROUPS * float(np.sum((left_out - left_out.mean()) ** 2))
    return NoiseCeiling(min(max(corrected, 0.0), 1.0), math.sqrt(variance), unreliable)


def uncorrected_ceiling(margins_MRN: NDArray[np.floating]) -> tuple[float, int]:
    """Return the mean ceiling over targets without correction, and the number of unreliable targets; see `noise_ceiling`."""
    R = margins_MRN.shape[1]
    runs = [rank_rows(np.ascontiguousarray(margins_MRN[:, run].T, dtype=np.float64)) for run in range(R)]
    agreement_N = np.mean([spearman(a, b) for a, b in combinations(runs, 2)], axis=0)
    positive_N = np.maximum(agreement_N, 0.0)
    ceiling_N = np.sqrt(R * positive_N / (1 + (R - 1) * positive_N))
    return float(ceiling_N.mean()), int((agreement_N < 0).sum())


def can_know_ceiling(M: int, R: int) -> bool:
    """Return whether the noise ceiling can be estimated from R runs of M subsets."""
    return R > 1 and M >= MIN_CEILING_SUBSETS


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

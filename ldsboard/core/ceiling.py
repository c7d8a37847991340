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
"""Largest number of groups of subsets in the delete-a-group jackknife of the noise ceiling."""


@dataclass(frozen=True)
class NoiseCeiling:
    """The LDS that no function of the subset can be expected to exceed, estimated from repeated runs.

    Attributes
    ----------
    value, std_error
        Mean over targets of the ceiling of each target, and the standard error of this mean, by a delete-a-group jackknife over
        the subsets.
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

    Parameters
    ----------
    margins_MRN
        Margins of every run, real, (M, R, N).

    Returns
    -------
    NoiseCeiling
        The mean ceiling over targets, the standard error of this mean, and the number of unreliable targets.

    Raises
    ------
    ProblemError
        ``margins.invalid``: there are fewer than two runs, or fewer than four subsets.
    """
    M, R, _ = margins_MRN.shape
    if R < 2 or M < 4:  # noqa: PLR2004
        raise ProblemError.mismatch(
            "margins.invalid",
            expected="at least 2 runs of at least 4 subsets, as margins of shape (M, R, N)",
            got=f"{count(R, 'run')} of {count(M, 'subset')}",
            hint="Train at least 2 models on every subset, each with another initialisation and order of examples.",
        )
    value, unreliable = _ceiling(margins_MRN)
    groups = min(JACKKNIFE_GROUPS, M // 2)
    group_M = np.arange(M) % groups
    left_out = np.array([_ceiling(margins_MRN[group_M != group])[0] for group in range(groups)])
    variance = (groups - 1) / groups * float(np.sum((left_out - left_out.mean()) ** 2))
    return NoiseCeiling(value, math.sqrt(variance), unreliable)


def _ceiling(margins_MRN: NDArray[np.floating]) -> tuple[float, int]:
    R = margins_MRN.shape[1]
    runs = [rank_rows(np.ascontiguousarray(margins_MRN[:, run].T, dtype=np.float64)) for run in range(R)]
    agreement_N = np.mean([spearman(a, b) for a, b in combinations(runs, 2)], axis=0)
    positive_N = np.maximum(agreement_N, 0.0)
    ceiling_N = np.sqrt(R * positive_N / (1 + (R - 1) * positive_N))
    return float(ceiling_N.mean()), int((agreement_N < 0).sum())


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

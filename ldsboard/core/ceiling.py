"""The noise ceiling and the null band of a benchmark, computed from its margins alone.

Legend: M subsets, R runs, N targets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from ldsboard.core.ranking import rank_rows, spearman
from ldsboard.core.significance import unit_rows
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from numpy.typing import NDArray

JACKKNIFE_GROUPS = 20
"""Groups of subsets in the delete-a-group jackknife of the noise ceiling."""


@dataclass(frozen=True)
class NoiseCeiling:
    """The LDS that no function of the subset can be expected to exceed, estimated from repeated runs.

    Attributes
    ----------
    value, std_error
        Mean ceiling over targets, and its delete-a-group jackknife standard error.
    unreliable_targets
        Number of targets whose runs correlate negatively on average; the ceiling of such a target is 0.
    """

    value: float
    std_error: float
    unreliable_targets: int


@dataclass(frozen=True)
class MarginSpectrum:
    """The null band, and the bound on the gain from repeated attempts.

    Both follow from the similarity of the targets: the N x N matrix C of rank correlations of their margins.

    Attributes
    ----------
    unrelated
        Half width of the 99.7 % band of the LDS of random scores with independent columns, ``3 / sqrt(N (M - 1))``.
    shared
        Half width of that band for one random column shared by all targets, ``3 sqrt(mean(C) / (M - 1))``.
    attempts
        Largest eigenvalue of C, divided by N; bounds the gain from repeated attempts, see `attempt_gain`.
    """

    unrelated: float
    shared: float
    attempts: float


def noise_ceiling(margins_MRN: NDArray[np.floating]) -> NoiseCeiling:
    """Estimate the noise ceiling of an evaluation against the mean over R >= 2 runs.

    With r the mean Spearman correlation over pairs of runs of a target, set to 0 where it is negative, the ceiling of the target
    is ``sqrt(R r / (1 + (R - 1) r))``: the square root of the Spearman-Brown reliability of the mean over runs. For ranks this
    formula is an approximation; the estimate is too high if a few runs diverge.

    Parameters
    ----------
    margins_MRN
        Margins of every run, real, (M, R, N).

    Returns
    -------
    NoiseCeiling
        The mean over targets, its standard error, and the number of unreliable targets.

    Raises
    ------
    ProblemError
        A ValueError: fewer than two runs, or fewer than four subsets.
    """
    M, R, _ = margins_MRN.shape
    if R < 2 or M < 4:  # noqa: PLR2004
        raise ProblemError.mismatch(
            "margins.invalid",
            expected="at least 2 runs of at least 4 subsets, as margins of shape (M, R, N)",
            got=f"{R} run(s) of {M} subsets",
            hint="Train every subset again with another initialisation and order.",
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
    """Compute the margin spectrum of the mean margins, float64 (M, N)."""
    M, N = margins_MN.shape
    unit_NM = unit_rows(rank_rows(np.ascontiguousarray(margins_MN.T))).astype(np.float64)
    mean_correlation = float(np.sum(unit_NM.sum(axis=0) ** 2)) / N**2
    gram = unit_NM @ unit_NM.T if N <= M else unit_NM.T @ unit_NM
    return MarginSpectrum(
        unrelated=3 / math.sqrt(N * (M - 1)),
        shared=3 * math.sqrt(mean_correlation / (M - 1)),
        attempts=float(np.linalg.eigvalsh(gram)[-1]) / N,
    )


def attempt_gain(lds: float, attempts: int, spectrum: float, M: int) -> float:
    """Bound the average gain in LDS that a submitter can obtain from the results of k earlier attempts.

    From an LDS of L, a submitter who uses the results of k attempts can reach at most ``sqrt(L**2 + k S / (M - 1))`` on average,
    where S is `spectrum`. If the LDS reached is `lds`, the gain is therefore at most
    ``lds - sqrt(max(0, lds**2 - k S / (M - 1)))``.

    Parameters
    ----------
    lds
        LDS that the submitter reached; the gain is 0 for a negative one.
    attempts
        Number of attempts k.
    spectrum
        Field ``attempts`` of `MarginSpectrum`.
    M
        Number of subsets.

    Returns
    -------
    float
        The largest average gain.
    """
    reached = max(lds, 0.0)
    return reached - math.sqrt(max(0.0, reached**2 - attempts * spectrum / (M - 1)))

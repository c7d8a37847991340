"""What any method could reach, and what random scores reach, from the margins alone.

Legend: M subsets, R runs, N targets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from ldsboard.problems import ProblemError
from ldsboard.ranking import rank_rows, spearman
from ldsboard.significance import unit_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

JACKKNIFE_GROUPS = 20


@dataclass(frozen=True)
class NoiseCeiling:
    """The LDS that no function of the subset can be expected to exceed; an estimate from repeated runs.

    Attributes
    ----------
    value, std_error
        Mean over targets, and its delete-a-group jackknife standard error.
    unreliable_targets
        Number of targets whose runs correlate negatively; they count as 0.
    """

    value: float
    std_error: float
    unreliable_targets: int


@dataclass(frozen=True)
class MarginSpectrum:
    """How alike the targets are: what random scores and repeated attempts can gain.

    With C the N x N matrix of rank correlations of the margins: `unrelated` and `shared` are the half widths of the 99.7 % band
    of the LDS for independent random columns, and for one random column shared by all targets; `attempts` is the largest
    eigenvalue of C over N, which bounds what can be learned from answers (`attempt_gain`).
    """

    unrelated: float
    shared: float
    attempts: float


def noise_ceiling(margins_MRN: NDArray[np.floating]) -> NoiseCeiling:
    """Estimate the noise ceiling of an evaluation against the mean over R >= 2 runs.

    With r the mean Spearman correlation over pairs of runs, negative ones set to 0, the ceiling of a target is
    ``sqrt(R r / (1 + (R - 1) r))``: the square root of the Spearman-Brown reliability of the mean over runs. For ranks this is an
    approximation, too high where a few runs diverge.

    Parameters
    ----------
    margins_MRN
        Margins of every run, (M, R, N).

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
    """Return how alike the targets are, from the mean margins (M, N)."""
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
    """Bound what an LDS gained by chance, on average, from the answers to k attempts.

    From an LDS of L, answers lead to at most ``sqrt(L**2 + k S / (M - 1))``. A board knows where they led, `lds`, so what was
    gained is at most ``lds - sqrt(max(0, lds**2 - k S / (M - 1)))``; nothing for an LDS below 0.
    """
    reached = max(lds, 0.0)
    return reached - math.sqrt(max(0.0, reached**2 - attempts * spectrum / (M - 1)))

"""Means over the replicates of a method.

The mean and the standard deviation of the LDS are computed from the published LDS of each replicate, so that these numbers reveal
no further digit of an LDS.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from app.leaderboard.disclosure import is_fitted, round_lds
from ldsboard.core.replicates import Reruns, mean_influence
from ldsboard.core.significance import interval, standard_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


class Measured(Protocol):
    """The LDS of a submission on the public or the ranking subsets, and psi of these subsets as little-endian float64."""

    @property
    def lds(self) -> float:
        """LDS: the mean over targets of Spearman's rho."""

    @property
    def influence(self) -> bytes:
        """Bytes of psi, float64 (M,)."""


class WholeMeasured(Measured, Protocol):
    """A result with all numbers that `average` reads: those of `Measured`, and the following."""

    @property
    def std_error(self) -> float:
        """Standard error of the LDS over subsets."""

    @property
    def per_target(self) -> bytes:
        """Bytes of rho, float64 (N,)."""

    @property
    def z_random(self) -> float:
        """Distance of the LDS from the mean LDS of random scores, in standard deviations of the LDS of random scores."""

    @property
    def p_random(self) -> float:
        """Two-sided p-value of the LDS under random matching of subsets and margins."""


class Mean(NamedTuple):
    """The means over replicates of the published LDS and of psi, float64 (M,), and how much the LDS of the replicates varies.

    Of a single file, ``lds`` is its unrounded LDS and ``influence_M`` its psi.
    """

    lds: float
    influence_M: NDArray[np.float64]
    reruns: Reruns


def mean_lds(lds: Sequence[float], split: str) -> tuple[float, Reruns]:
    """Return the mean over the published LDS of replicates, and how much these LDS vary.

    `lds` holds the unrounded LDS of each replicate. Of a single file, the unrounded LDS is returned. `split` is ``open`` for the
    public subsets, otherwise the split of the benchmark.
    """
    published = [round_lds(value, split) for value in lds]
    return (statistics.fmean(published) if len(published) > 1 else lds[0]), Reruns.of(published)


def mean_of(replicates: Sequence[Measured], split: str) -> Mean:
    """Return the mean over the replicates of a method.

    `split` decides how the LDS are rounded: ``open`` for the public subsets, otherwise the split of the benchmark.
    """
    lds, reruns = mean_lds([measured.lds for measured in replicates], split)
    arrays = [np.frombuffer(measured.influence, dtype="<f8") for measured in replicates]
    return Mean(lds, mean_influence(arrays), reruns)


def average(replicates: dict[str, WholeMeasured], manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers of an entry that is the mean over at least two replicates, for `app.db.models.Evaluation.replicates`.

    Parameters
    ----------
    replicates
        The measurement of each replicate on the ranking subsets, by submission id.
    manifest
        The manifest of the version.

    Returns
    -------
    dict
        ``ids``: the submission ids of all replicates. ``lds``: the mean of their LDS. ``spread``: the standard deviation of their
        LDS, with ``ddof=1``. ``std_error``, ``ci_low`` and ``ci_high``: standard error and 95 % interval of ``lds`` from the draw
        of the subsets alone, without the differences between replicates. ``z_random`` and ``p_random``: the values of the
        replicate that is the least distinguishable from random scores. ``fitted``: whether `is_fitted` marks a replicate.
    """
    mean = mean_of(list(replicates.values()), manifest["split"])
    rho_N = np.mean([np.frombuffer(measured.per_target, dtype="<f8") for measured in replicates.values()], axis=0)
    error = standard_error(mean.influence_M)
    low, high = interval(rho_N, mean.lds, error, mean.influence_M.size)
    weakest = max(replicates.values(), key=lambda measured: (measured.p_random, -abs(measured.z_random)))
    return {
        "ids": sorted(replicates),
        "lds": mean.lds,
        "spread": float(mean.reruns.spread),
        "std_error": error,
        "ci_low": low,
        "ci_high": high,
        "z_random": weakest.z_random,
        "p_random": weakest.p_random,
        "fitted": any(is_fitted(measured.lds, measured.std_error, manifest) for measured in replicates.values()),
    }

"""The outcome of scoring one array of scores against one set of subsets."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ldsboard.significance import interval, new_targets_error, spearman_p_values, standard_error, unit_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ldsboard.ranking import Ranking

SCORER_VERSION = 1
"""Raised by hand whenever the bits of an LDS, a rho or a psi change for any input."""

WARNINGS = {
    "scores.dynamic_range": "The scores of a target span so many orders of magnitude that small ones were rounded.",
    "scores.constant_predictions": "Some targets have equal predictions for every subset; they count as 0.",
    "scores.random": "Not distinguishable from random scores.",
    "scores.sign_flipped": "Significantly negative. Is the sign flipped? A high score should say: the example raises the margin.",
}
"""What a reader of a result should know, by code and in words."""

CHANCE = 3.0
"""Distance from chance, in standard deviations, below which a score is not distinguishable from random."""


@dataclass(frozen=True, repr=False)
class Result:
    """A linear datamodeling score with its uncertainty, over M subsets and N targets.

    Attributes
    ----------
    lds : float
        Mean over targets of Spearman's rho between predictions and margins.
    std_error : float
        Standard error over subsets; nan for fewer than 4 subsets.
    confidence_interval : tuple of float
        95 % interval (low, high), for these targets and this recipe; it allows for the bias at few subsets.
    per_target : numpy.ndarray
        rho of each target, float64 (N,); 0 where the predictions are constant.
    p_values : numpy.ndarray
        Two-sided p-value of each target, float64 (N,).
    influence : numpy.ndarray
        psi, each subset's influence on the LDS, float64 (M,); sums to 0. All that a paired comparison needs.
    constant_predictions : int
        Number of targets whose predictions are all equal.
    grid_loss : float
        Largest over targets of the worst rounding of a sum to its fixed-point grid, in standard deviations of the predictions;
        or, where most scores of a target were coarsely rounded, of what sums of typical ones spread.
    grid_loss_target : int
        The target of that; -1 where nothing was rounded.
    z_random : float
        LDS in standard deviations of what chance gives; within 3 of 0 it is not distinguishable from random scores.
    std_error_new_targets : float
        Standard error for a fresh draw of targets too; nan for one target. Below 20 targets use it with t of N - 1 degrees.
    duplicate_subsets : int
        Number of subsets that repeat an earlier one.
    fingerprint : str
        Identifies the subsets and margins scored against; results can only be compared where it is the same.
    """

    lds: float
    std_error: float
    confidence_interval: tuple[float, float]
    per_target: NDArray[np.float64] = field(compare=False)
    p_values: NDArray[np.float64] = field(compare=False)
    influence: NDArray[np.float64] = field(compare=False)
    constant_predictions: int
    grid_loss: float
    grid_loss_target: int
    z_random: float
    std_error_new_targets: float
    duplicate_subsets: int
    fingerprint: str

    @property
    def mean_p(self) -> float:
        """Mean of the p-values over targets."""
        return float(self.p_values.mean())

    @property
    def warnings(self) -> list[str]:
        """Codes of what a reader of this result should know."""
        found = {
            "scores.dynamic_range": self.grid_loss > 1e-3,  # noqa: PLR2004
            "scores.constant_predictions": self.constant_predictions > 0,
            "scores.random": abs(self.z_random) < CHANCE,
            "scores.sign_flipped": self.z_random <= -CHANCE,
        }
        return [code for code, applies in found.items() if applies]

    def __repr__(self) -> str:
        low, high = self.confidence_interval
        notes = "".join(f", {code}" for code in self.warnings)
        return f"Result(lds={self.lds:.4f} [{low:.4f}, {high:.4f}], M={self.influence.size}, N={self.per_target.size}{notes})"


@dataclass(frozen=True)
class TargetBlock:
    """What scoring finds for a block of b neighbouring targets.

    Attributes
    ----------
    columns
        The targets of the block.
    rho_b, squared_influence_b
        Correlation and sum of squared influences of each target.
    constant_b
        Whether all predictions of a target are equal.
    grid_loss_b
        Worst rounding of a sum, in standard deviations of the predictions.
    unit_bM
        Ranks of the predictions as rows of unit length.
    influence_units_M
        Sum over these targets of the influence on a grid of 2**-30, int64, so that it is exact in any order.
    """

    columns: slice
    rho_b: NDArray[np.float64]
    squared_influence_b: NDArray[np.float64]
    constant_b: NDArray[np.bool_]
    grid_loss_b: NDArray[np.float64]
    unit_bM: NDArray[np.float32]
    influence_units_M: NDArray[np.int64]

    @classmethod
    def empty(cls, columns: slice, M: int) -> TargetBlock:
        """Return a block before the first of its tiles."""
        b = columns.stop - columns.start
        return cls(
            columns,
            np.zeros(b),
            np.zeros(b),
            np.zeros(b, dtype=np.bool_),
            np.zeros(b),
            np.empty((b, M), dtype=np.float32),
            np.zeros(M, dtype=np.int64),
        )

    def add(self, tile: slice, ranking: Ranking, rho_t: NDArray[np.float64], influence_tM: NDArray[np.float64]) -> None:
        """Take some rows of the block: ranks of the predictions, correlations, and influences, which are used up."""
        influence_tM *= INFLUENCE_UNITS
        np.rint(influence_tM, out=influence_tM)
        self.influence_units_M[:] += influence_tM.sum(axis=0).astype(np.int64)
        self.squared_influence_b[tile] = np.einsum("tM,tM->t", influence_tM, influence_tM) / INFLUENCE_UNITS**2
        self.rho_b[tile] = rho_t
        self.constant_b[tile] = ranking.squares_b == 0
        self.unit_bM[tile] = unit_rows(ranking)


@dataclass(frozen=True)
class TargetSums:
    """What scoring gathers per target and per subset, block by block, before it becomes a `Result`."""

    rho_N: NDArray[np.float64]
    squared_influence_N: NDArray[np.float64]
    constant_N: NDArray[np.bool_]
    grid_loss_N: NDArray[np.float64]
    influence_units_M: NDArray[np.int64]

    @classmethod
    def empty(cls, M: int, N: int) -> TargetSums:
        """Return the state before the first block."""
        return cls(np.zeros(N), np.zeros(N), np.zeros(N, dtype=np.bool_), np.zeros(N), np.zeros(M, dtype=np.int64))

    def add(self, block: TargetBlock) -> None:
        """Take the next block."""
        self.rho_N[block.columns] = block.rho_b
        self.squared_influence_N[block.columns] = block.squared_influence_b
        self.constant_N[block.columns] = block.constant_b
        self.grid_loss_N[block.columns] = block.grid_loss_b
        self.influence_units_M[:] += block.influence_units_M

    def result(self, chance: float, duplicate_subsets: int, fingerprint: str) -> Result:
        """Return the result of all blocks; `chance` is the standard deviation of the LDS by chance."""
        M, N = self.influence_units_M.size, self.rho_N.size
        lds = math.fsum(self.rho_N) / N
        influence_M = self.influence_units_M / INFLUENCE_UNITS / N
        error = standard_error(influence_M)
        p_values_N = spearman_p_values(self.rho_N, M)
        p_values_N[self.constant_N] = 1.0
        worst = int(self.grid_loss_N.argmax())
        return Result(
            lds=lds,
            std_error=error,
            confidence_interval=interval(self.rho_N, lds, error, M),
            per_target=self.rho_N,
            p_values=p_values_N,
            influence=influence_M,
            constant_predictions=int(self.constant_N.sum()),
            grid_loss=float(self.grid_loss_N[worst]),
            grid_loss_target=worst if self.grid_loss_N[worst] > 0 else -1,
            z_random=lds / chance if chance > 0 else 0.0,
            std_error_new_targets=new_targets_error(influence_M, self.rho_N, self.squared_influence_N),
            duplicate_subsets=duplicate_subsets,
            fingerprint=fingerprint,
        )


INFLUENCE_UNITS = 2.0**30
"""Influences are rounded to multiples of 1 / 2**30 before they are summed."""

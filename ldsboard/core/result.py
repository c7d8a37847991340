"""The result of evaluating one array of scores on one set of subsets.

Legend: M subsets, N targets, b targets of one block, t targets of one tile of a block.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ldsboard.arrays.scores import TURNED
from ldsboard.core import chance, significance
from ldsboard.core.target_summary import TargetSummary, summarise_targets
from ldsboard.counts import count
from ldsboard.notebook_table import notebook_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ldsboard.core.kernel import RankedTile
    from ldsboard.core.ranking import Ranking

SCORER_VERSION = 1
"""Version of the scorer. Increase this number whenever the bits of an LDS, a rho or a psi change for any input."""

WARNINGS = {
    "scores.dynamic_range": "The scores of a target span so many orders of magnitude that small scores were rounded.",
    "scores.constant_predictions": "Some targets have equal predictions for all subsets. The rho of such a target counts as 0.",
    "scores.random": "The scores are not distinguishable from random scores.",
    "scores.sign_flipped": "The LDS is significantly negative. Is the sign flipped? A high score means that the training example "
    "raises the margin.",
    "scores.was_transposed": TURNED,
    "scores.negative_targets": "Many targets have a clearly negative rho. Is the sign of their scores flipped?",
}
"""The text of each warning code. `Result.warnings` lacks the last two, which depend on the file and on the number of examples."""

FEW_TARGETS = 200
"""With fewer targets, pages and commands show `Result.std_error_new_targets` beside the interval."""


@dataclass(frozen=True, repr=False)
class Result:
    """A linear datamodeling score with its uncertainty, over M subsets and N targets.

    Attributes
    ----------
    lds : float
        Mean over targets of Spearman's rho between predictions and margins.
    std_error : float
        Standard error of the LDS over subsets; nan for fewer than 4 subsets.
    confidence_interval : tuple of float
        95 % interval (low, high) of the LDS for these targets and this recipe, widened by the bias of the LDS at few subsets.
    per_target : numpy.ndarray
        Spearman's rho of each target, float64 (N,); 0 where the predictions are constant.
    p_values : numpy.ndarray
        Two-sided p-value of each rho, float64 (N,); 1 where the predictions are constant.
    influence : numpy.ndarray
        psi, the influence of each subset on the LDS, float64 (M,); sums to 0 up to rounding. `compare` computes the standard
        error of a difference from psi.
    constant_predictions : int
        Number of targets whose predictions are all equal.
    grid_loss : float
        Largest ratio, over targets, of rounding error to spread. The rounding error is the largest error of a prediction that
        rounding the scores can cause. The spread is the standard deviation of the target's predictions. If most of the target's
        scores other than 0 were coarsely rounded, the spread is at most ``s sqrt(n) / 2``, the standard deviation expected for
        n scores of the median magnitude s.
    grid_loss_target : int
        Index of the target with this ratio; -1 if the ratio is 0.
    z_random : float
        LDS divided by the standard deviation of the LDS when subsets are matched to margins at random; 0 if the deviation is 0.
    p_random : float
        Two-sided p-value of the LDS when subsets are matched to margins at random: the normal p-value of `z_random`, and for
        fewer than 64 subsets a permutation p-value. If `p_random` is above .0027 (for at least 64 subsets: if `z_random` is
        between -3 and 3), the scores are not distinguishable from random scores.
    std_error_new_targets : float
        Standard error of the LDS over draws of both subsets and targets; nan for one target, or for fewer than 4 subsets. With
        fewer than 20 targets, intervals need Student's t with N - 1 degrees of freedom.
    n_train : int
        Number of training examples.
    duplicate_subsets : int
        Number of subsets that are equal to an earlier subset.
    fingerprint : str
        sha256 of the subsets and margins; only results with equal fingerprints can be compared.
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
    p_random: float
    std_error_new_targets: float
    n_train: int
    duplicate_subsets: int
    fingerprint: str

    @property
    def mean_p(self) -> float:
        """Mean of the p-values over targets."""
        return float(self.p_values.mean())

    @property
    def target_summary(self) -> TargetSummary:
        """How `per_target` varies over targets: median, 5 % and 95 % quantile, and the share of targets with p < 0.05."""
        return summarise_targets(self.per_target, self.p_values)

    @property
    def warnings(self) -> list[str]:
        """Codes of the warnings that apply to this result; `WARNINGS` has the text of each code."""
        found = {
            "scores.dynamic_range": self.grid_loss > 1e-3,  # noqa: PLR2004
            "scores.constant_predictions": self.constant_predictions > 0,
            "scores.random": self.p_random > chance.RANDOM_P,
            "scores.sign_flipped": self.p_random <= chance.RANDOM_P
            and self.z_random <= chance.flipped_z(self.influence.size, self.n_train),
        }
        return [code for code, applies in found.items() if applies]

    def __repr__(self) -> str:
        low, high = self.confidence_interval
        notes = "".join(f", {code}" for code in self.warnings)
        return f"Result(lds={self.lds:.4f} [{low:.4f}, {high:.4f}], M={self.influence.size}, N={self.per_target.size}{notes})"

    def _repr_html_(self) -> str:
        """Return a table for a notebook, with the text of each warning."""
        low, high = self.confidence_interval
        size = f"{count(self.influence.size, 'subset')}, {count(self.per_target.size, 'target')}"
        rows = [
            ("LDS", f"{self.lds:.4f}"),
            ("95 % interval", f"{low:.4f} to {high:.4f}"),
            ("standard error", f"{self.std_error:.4f}"),
            ("mean p-value", f"{self.mean_p:.3g}"),
            ("distance from random scores", f"{self.z_random:.1f} standard deviations, p-value {self.p_random:.2g}"),
            ("computed from", size),
        ]
        return notebook_table(
            "Linear datamodeling score", rows + [("warning", WARNINGS[code]) for code in self.warnings]
        )


@dataclass(frozen=True)
class TargetBlock:
    """Intermediate results for a block of b neighbouring targets.

    Attributes
    ----------
    columns
        The targets of the block.
    rho_b, squared_influence_b
        For each target Spearman's rho, and the sum of the squared influences of all subsets on this rho, float64 (b,).
    constant_b
        Whether all predictions of a target are equal, bool (b,).
    grid_loss_b
        The ratio that `Result.grid_loss` describes, for each target, float64 (b,).
    unit_bM
        Ranks of the predictions as rows of unit length, the result of `ldsboard.core.chance.unit_rows`, (b, M).
    influence_units_M
        For each subset the sum of its influences on these targets, int64 (M,), in units of 2**-30. Integer sums do not depend on
        the order of summation.
    """

    columns: slice
    rho_b: NDArray[np.float64]
    squared_influence_b: NDArray[np.float64]
    constant_b: NDArray[np.bool_]
    grid_loss_b: NDArray[np.float64]
    unit_bM: NDArray[Any]
    influence_units_M: NDArray[np.int64]

    @classmethod
    def empty(cls, columns: slice, M: int) -> TargetBlock:
        """Return a block without results, for the targets in `columns` and M subsets; `add` stores the results of a tile."""
        b = columns.stop - columns.start
        constant_b, units_M = np.zeros(b, dtype=np.bool_), np.zeros(M, dtype=np.int64)
        unit_bM = np.empty((b, M), dtype=np.float64 if M < significance.FEW_SUBSETS else np.float32)
        return cls(columns, np.zeros(b), np.zeros(b), constant_b, np.zeros(b), unit_bM, units_M)

    def add(self, tile: slice, ranking: Ranking, rho_t: NDArray[np.float64], influence_tM: NDArray[np.float64]) -> None:
        """Store the results of one tile of t targets.

        Parameters
        ----------
        tile
            Rows of the block that belong to the tile.
        ranking
            Ranks of the predictions for the targets of the tile.
        rho_t
            Spearman's rho of each target, float64 (t,).
        influence_tM
            Influence of each subset on each rho, float64 (t, M). This method overwrites the array.
        """
        influence_tM *= INFLUENCE_UNITS
        np.rint(influence_tM, out=influence_tM)
        self.influence_units_M[:] += influence_tM.sum(axis=0).astype(np.int64)
        self.squared_influence_b[tile] = sums_of_squares(influence_tM) / INFLUENCE_UNITS**2
        self.rho_b[tile] = rho_t
        self.constant_b[tile] = ranking.squares_b == 0
        self.unit_bM[tile] = chance.unit_rows(ranking)

    def add_ranked(self, tile: slice, ranked: RankedTile) -> None:
        """Store the results of one tile of t targets, computed by the compiled kernel with `INFLUENCE_UNITS`."""
        self.influence_units_M[:] += ranked.influences_M.astype(np.int64)
        self.squared_influence_b[tile] = sums_of_squares(ranked.influence_tM) / INFLUENCE_UNITS**2
        self.rho_b[tile] = ranked.rho_t
        self.constant_b[tile] = ranked.squares_t == 0
        self.unit_bM[tile] = ranked.unit_tM


def sums_of_squares(influence_tM: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of the squares of each row. The order of summation does not depend on the number of rows."""
    # Of longer rows, numpy sums a single one in another order than several.
    parts = np.split(influence_tM, range(EINSUM_NUMBERS, influence_tM.shape[1], EINSUM_NUMBERS), axis=1)
    sums_t: NDArray[np.float64] = np.sum([np.einsum("tM,tM->t", part_tM, part_tM) for part_tM in parts], axis=0)
    return sums_t


@dataclass(frozen=True)
class TargetSums:
    """The results of all blocks together.

    Attributes
    ----------
    rho_N, squared_influence_N, constant_N, grid_loss_N
        For all N targets, the values that `TargetBlock` describes for the targets of one block.
    influence_units_M
        For each subset the sum of its influences on all targets, int64 (M,), in units of 2**-30.
    spread
        Computes the standard deviation and the p-value of the LDS of random scores.
    """

    rho_N: NDArray[np.float64]
    squared_influence_N: NDArray[np.float64]
    constant_N: NDArray[np.bool_]
    grid_loss_N: NDArray[np.float64]
    influence_units_M: NDArray[np.int64]
    spread: chance.ChanceSpread

    @classmethod
    def empty(cls, margins: chance.MarginRanks) -> TargetSums:
        """Return empty sums, to which `add` adds the results of each block."""
        N, M = margins.ranks.ranks_bM.shape
        constant_N, units_M = np.zeros(N, dtype=np.bool_), np.zeros(M, dtype=np.int64)
        return cls(np.zeros(N), np.zeros(N), constant_N, np.zeros(N), units_M, chance.ChanceSpread(margins))

    def add(self, block: TargetBlock) -> None:
        """Add the results of one block."""
        self.rho_N[block.columns] = block.rho_b
        self.squared_influence_N[block.columns] = block.squared_influence_b
        self.constant_N[block.columns] = block.constant_b
        self.grid_loss_N[block.columns] = block.grid_loss_b
        self.influence_units_M[:] += block.influence_units_M
        self.spread.add(block.unit_bM, block.columns)

    def result(self, n_train: int, duplicate_subsets: int, fingerprint: str) -> Result:
        """Return the `Result` for all targets; all blocks must have been added.

        `n_train`, `duplicate_subsets` and `fingerprint` become the attributes of the result with these names.
        """
        M, N = self.influence_units_M.size, self.rho_N.size
        lds, deviation = math.fsum(self.rho_N) / N, self.spread.value()
        z_random = lds / deviation if deviation > 0 else 0.0
        influence_M = self.influence_units_M / INFLUENCE_UNITS / N
        error = significance.standard_error(influence_M)
        p_values_N = significance.spearman_p_values(self.rho_N, M)
        p_values_N[self.constant_N] = 1.0
        worst = int(self.grid_loss_N.argmax())
        return Result(
            lds=lds,
            std_error=error,
            confidence_interval=significance.interval(self.rho_N, lds, error, M),
            per_target=self.rho_N,
            p_values=p_values_N,
            influence=influence_M,
            constant_predictions=int(self.constant_N.sum()),
            grid_loss=float(self.grid_loss_N[worst]),
            grid_loss_target=worst if self.grid_loss_N[worst] > 0 else -1,
            z_random=z_random,
            p_random=self.spread.p_value(z_random),
            std_error_new_targets=significance.new_targets_error(influence_M, self.rho_N, self.squared_influence_N),
            n_train=n_train,
            duplicate_subsets=duplicate_subsets,
            fingerprint=fingerprint,
        )


EINSUM_NUMBERS = 2**13
"""Largest number of products that `numpy.einsum` adds in one order, for one row and for several: the size of its buffer."""

INFLUENCE_UNITS = 2.0**30
"""Influences are rounded to multiples of 1 / 2**30 before they are summed."""

"""Simulated problems with known truth: populations of subsets, sampled with replacement.

The large-M value of a score file is its LDS over the whole population, which is exact. Each row of a population is a subset with
the margins of one model trained on it. As in real data, the margins of different targets share most of their variance.

Legend: P subsets of the population, M subsets drawn, n training examples, N targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import optimize, stats

from ldsboard import GroundTruth

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

P = 5_000


def subsets(rng: np.random.Generator, count: int, n: int, alpha: float = 0.5) -> NDArray[np.bool_]:
    """Return `count` random subsets of the share `alpha` of n examples, bool (count, n)."""
    return rng.permuted(np.tile(np.arange(n) < round(alpha * n), (count, 1)), axis=1)


def correlated_columns(rng: np.random.Generator, shape: tuple[int, ...], own: float) -> Floats:
    """Return columns with a shared heavy-tailed part and independent normal parts; `own` is the independent share of variance."""
    shared = rng.standard_t(4, size=(*shape[:-1], 1)) / np.sqrt(2)
    return np.asarray(np.sqrt(1 - own) * shared + np.sqrt(own) * rng.normal(size=shape))


@dataclass(frozen=True)
class Population:
    """P subsets with the margins of their models, (P, N), and the effects (n, N) of the examples on them."""

    masks_Pn: NDArray[np.bool_]
    margins_PN: Floats
    effects_nN: Floats

    @classmethod
    def simulated(
        cls, seed: int, *, n: int = 100, N: int = 20, own: float = 0.2, noise: float = 0.3, alpha: float = 0.5
    ) -> Population:
        """Simulate margins: the share `noise` of variance is noise, the share `own` is independent between targets."""
        rng = np.random.default_rng(seed)
        masks_Pn = subsets(rng, P, n, alpha)
        effects_nN = correlated_columns(rng, (n, N), own)
        signal_PN = masks_Pn @ effects_nN / np.sqrt(n * alpha * (1 - alpha))
        margins_PN = np.sqrt(1 - noise) * signal_PN + np.sqrt(noise) * correlated_columns(rng, (P, N), own)
        return cls(masks_Pn, margins_PN, effects_nN)

    def sample(self, rng: np.random.Generator, M: int, columns: Any = slice(None)) -> GroundTruth:
        """Return the ground truth of M random rows of the population, for the targets in `columns`."""
        rows_M = rng.integers(P, size=M)
        return GroundTruth(self.masks_Pn[rows_M], self.margins_PN[rows_M][:, columns])

    def lds(self, scores_nN: Floats) -> float:
        """Return the large-M value of scores."""
        return float(np.sum(unit_ranks((self.masks_Pn @ scores_nN).T) * self._unit_NP) / len(self._unit_NP))

    @cached_property
    def _unit_NP(self) -> Floats:
        return unit_ranks(self.margins_PN.T)

    def scores_at_level(self, noise_nN: Floats, level: float) -> Floats:
        """Return the effects mixed with noise such that their large-M value equals `level` to one millionth."""

        def mixed(weight: float) -> Floats:
            return weight * self.effects_nN + (1 - abs(weight)) * noise_nN

        weight = optimize.brentq(lambda w: self.lds(mixed(w)) - level, -1, 1, xtol=1e-7)
        return mixed(float(weight))

    def scores_of_each_kind(self, rng: np.random.Generator) -> dict[str, Floats]:
        """Return scores of four kinds: continuous; nonzero for one or two examples (two or three levels); 95 % zeros."""
        magnitude_nN = np.abs(self.effects_nN)
        rank_nN = np.argsort(np.argsort(-magnitude_nN, axis=0), axis=0)
        sign_nN = np.sign(self.effects_nN)
        return {
            "continuous": self.effects_nN + correlated_columns(rng, self.effects_nN.shape, own=0.2),
            "two levels": sign_nN * (rank_nN < 1),
            "three levels": np.where(rank_nN < 2, 1.0, 0.0) * sign_nN,
            "95 % zeros": self.effects_nN * (rank_nN < len(rank_nN) // 20),
        }


def unit_ranks(values_NM: Floats) -> Floats:
    """Return the centred ranks of each row, scaled to unit length; uses SciPy, so that the reference is independent."""
    ranks_NM = stats.rankdata(values_NM, axis=1) - (values_NM.shape[1] + 1) / 2
    return np.asarray(ranks_NM / np.linalg.norm(ranks_NM, axis=1, keepdims=True), dtype=np.float64)

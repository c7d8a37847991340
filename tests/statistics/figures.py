"""Figures of a simulation with their Monte Carlo errors: shares of draws, standard deviations, and interval coverage.

Legend: k draws.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Draws:
    """The number of draws of a simulation, and the number of Monte Carlo errors by which bars are widened."""

    count: int
    slack: float

    def lower_bar(self, share: float) -> float:
        """Return the smallest accepted value of a share that must be at least `share`."""
        return share - self.slack * share_error(share, self.count)

    def upper_bar(self, share: float) -> float:
        """Return the largest accepted value of a share that must be at most `share`."""
        return share + self.slack * share_error(share, self.count)


def share_error(share: float, count: int) -> float:
    """Return the standard error of a share of `count` draws."""
    return math.sqrt(share * (1 - share) / count)


@dataclass(frozen=True)
class Share:
    """The share of draws in which a condition holds."""

    value: float
    count: int

    @classmethod
    def of(cls, holds_k: ArrayLike) -> Share:
        holds = np.asarray(holds_k, dtype=np.bool_)
        return cls(float(holds.mean()), holds.size)

    @property
    def error(self) -> float:
        """Monte Carlo error, computed for a share of at least one draw and at most all but one."""
        clear = 1 / (self.count + 1)
        return share_error(min(max(self.value, clear), 1 - clear), self.count)

    def __str__(self) -> str:
        return f"{self.value:.2%} ± {share_error(self.value, self.count):.2%}"


@dataclass(frozen=True)
class Mean:
    """The mean over draws, with its Monte Carlo error."""

    value: float
    error: float
    as_share: bool = False

    @classmethod
    def of(cls, values_k: ArrayLike, *, as_share: bool = False) -> Mean:
        values = np.asarray(values_k, dtype=np.float64)
        return cls(float(values.mean()), float(values.std(ddof=1) / math.sqrt(values.size)), as_share)

    def __str__(self) -> str:
        form = ".2%" if self.as_share else ".3f"
        return f"{self.value:{form}} ± {self.error:{form}}"


@dataclass(frozen=True)
class Spread:
    """The standard deviation over draws."""

    value: float
    count: int

    @classmethod
    def of(cls, values_k: ArrayLike) -> Spread:
        values = np.asarray(values_k, dtype=np.float64)
        return cls(float(values.std(ddof=1)), values.size)

    @property
    def relative_error(self) -> float:
        """Standard error divided by the value, for normally distributed draws."""
        return 1 / math.sqrt(2 * (self.count - 1))


class Intervals(NamedTuple):
    """Interval ends over the draws."""

    low_k: NDArray[np.float64]
    high_k: NDArray[np.float64]

    @classmethod
    def around(cls, value_k: ArrayLike, error_k: ArrayLike, degrees: int) -> Intervals:
        """Return the 95 % intervals of Student's t."""
        values, half = np.asarray(value_k, dtype=np.float64), stats.t.ppf(0.975, degrees) * np.asarray(error_k)
        return cls(values - half, values + half)

    def widened(self, by_k: ArrayLike) -> Intervals:
        """Return the intervals with both ends moved outward by `by_k`."""
        return Intervals(self.low_k - np.asarray(by_k), self.high_k + np.asarray(by_k))

    def cover(self, truth: float) -> Share:
        """Return the share of intervals that contain the truth."""
        return Share.of((self.low_k <= truth) & (truth <= self.high_k))

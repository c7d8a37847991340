"""Which subsets a benchmark may have: sizes alone predict margins, and standard errors need independent draws or one partition.

Legend: M subsets, n training examples, N targets, k draws.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from ldsboard import GroundTruth
from tests.statistics.figures import Spread
from tests.statistics.populations import correlated_columns, subsets

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tests.statistics.conftest import Report
    from tests.statistics.figures import Draws

pytestmark = pytest.mark.slow

M, N = 200, 10


@pytest.mark.parametrize(("effect", "expected"), [(0.05, 0.18), (0.1, 0.35), (0.3, 0.76)])
def test_ones_get_an_lds_from_two_sizes_and_none_from_one(
    effect: float, expected: float, draws: Draws, report: Report
) -> None:
    """`effect` is the mean effect of an example, divided by the standard deviation of the effects."""
    n = 100
    rng = np.random.default_rng([31, round(100 * effect)])
    ones_nN, first = np.ones((n, N)), slice(0, M // 2)
    found = []
    for _ in range(draws.count):
        masks_Mn = np.concatenate([subsets(rng, M // 2, n, alpha) for alpha in (0.3, 0.7)])
        effects_nN = correlated_columns(rng, (n, N), own=0.2)
        effects_nN += effect - effects_nN.mean(axis=0)
        margins_MN = margins_of(rng, masks_Mn, effects_nN, alpha=0.3)
        found.append(GroundTruth(masks_Mn, margins_MN).score(ones_nN).lds)
        one_size = GroundTruth(masks_Mn[first], margins_MN[first]).score(ones_nN)
        assert (one_size.lds, one_size.constant_predictions) == (0, N)
    mean, error = float(np.mean(found)), float(np.std(found, ddof=1) / np.sqrt(draws.count))
    setting = f"alpha .3 and .7, n {n}, M {M}, mean effect {effect} standard deviations: LDS of ones"
    report(setting, f"{mean:.3f} ± {error:.3f}", f"{expected - 0.02:.2f} to {expected + 0.02:.2f}")
    assert abs(mean - expected) <= 0.02 + draws.slack * error


def margins_of(
    rng: np.random.Generator, masks_Mn: NDArray[np.bool_], effects_nN: NDArray[np.float64], alpha: float
) -> NDArray[np.float64]:
    """Return sums of effects plus noise, (M, N), whose variance for subsets of the share `alpha` is 1, of which .3 is noise."""
    signal_MN = masks_Mn @ effects_nN / np.sqrt(len(effects_nN) * alpha * (1 - alpha))
    return np.asarray(np.sqrt(0.7) * signal_MN + np.sqrt(0.3) * correlated_columns(rng, (M, N), own=0.2))


def partition(rng: np.random.Generator, n: int, parts: int) -> NDArray[np.bool_]:
    """Return the parts of a random partition of n examples, bool (parts, n)."""
    masks: NDArray[np.bool_] = rng.permutation(n) % parts == np.arange(parts)[:, None]
    return masks


def halves_and_complements(rng: np.random.Generator, n: int) -> NDArray[np.bool_]:
    return np.concatenate([partition(rng, n, 2) for _ in range(M // 2)])


@pytest.mark.parametrize("noise", [0.3, 1.0], ids=["good scores", "random scores"])
@pytest.mark.parametrize(
    ("draw", "n", "low", "high"),
    [
        (lambda rng, n: subsets(rng, M, n), 200, 0.95, 1.05),
        (lambda rng, n: partition(rng, n, M), 400, 1, 1.3),
        (lambda rng, n: partition(rng, n, M), 2000, 1, 1.3),
        (halves_and_complements, 200, 0.7, 0.9),
    ],
    ids=["independent halves", "partition into parts of 2", "partition into parts of 10", "halves and complements"],
)
def test_standard_error_needs_independent_subsets_or_one_partition(
    draw: Callable[[np.random.Generator, int], NDArray[np.bool_]],
    n: int,
    low: float,
    high: float,
    noise: float,
    draws: Draws,
    report: Report,
    request: pytest.FixtureRequest,
) -> None:
    """`noise` is the share of the scores that is unrelated to the effects."""
    rng = np.random.default_rng([32, n, round(10 * noise)])
    effects_nN = correlated_columns(rng, (n, N), own=0.2)
    scores_nN = (1 - noise) * effects_nN + noise * rng.normal(size=(n, N))
    results = []
    for _ in range(draws.count):
        masks_Mn = draw(rng, n)
        margins_MN = margins_of(rng, masks_Mn, effects_nN, alpha=masks_Mn.mean())
        results.append(GroundTruth(masks_Mn, margins_MN).score(scores_nN))
    lds_k, error_k = [result.lds for result in results], [result.std_error for result in results]
    spread = Spread.of(lds_k)
    ratio = float(np.mean(error_k)) / spread.value
    setting = f"{request.node.callspec.id}, n {n}, M {M}, LDS {np.mean(lds_k):.2f}: ratio of standard error to spread"
    report(setting, f"{ratio:.3f} ± {ratio * spread.relative_error:.3f}", f"{low} to {high}")
    slack = draws.slack * ratio * spread.relative_error
    assert low - slack <= ratio <= high + slack

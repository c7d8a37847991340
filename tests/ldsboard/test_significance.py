"""p-values, standard errors and intervals, compared with SciPy, formulas and simulation.

Legend: M subsets, n training examples, N targets.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from ldsboard import lds
from ldsboard.core.ranking import rank_rows, spearman, spearman_influence
from ldsboard.core.significance import (
    interval,
    new_targets_error,
    spearman_p_values,
    standard_error,
    two_sided_p,
)
from tests.statistics.figures import share_error

if TYPE_CHECKING:
    from numpy.typing import NDArray


@pytest.mark.parametrize("M", [3, 4, 5, 20, 1000])
def test_p_values_equal_scipy(M: int, rng: np.random.Generator) -> None:
    f_bM, g_bM = rng.normal(size=(2, 30, M))
    g_bM[0], g_bM[1] = f_bM[0], -f_bM[1]
    expected = [stats.spearmanr(f, g) for f, g in zip(f_bM, g_bM, strict=True)]
    rho_b = spearman(rank_rows(f_bM), rank_rows(g_bM))
    np.testing.assert_allclose(spearman_p_values(rho_b, M), [e.pvalue for e in expected], rtol=1e-11, atol=1e-12)
    assert spearman_p_values(rho_b, M)[:2].tolist() == [0, 0]


def test_p_value_of_two_subsets_is_nan() -> None:
    assert np.isnan(spearman_p_values(np.array([1.0, -1.0]), 2)).all()
    assert math.isnan(stats.spearmanr([1, 2], [1, 2]).pvalue)


def test_two_sided_p_equals_student_t() -> None:
    assert float(two_sided_p(-2.5, 9)) == pytest.approx(2 * stats.t.sf(2.5, 9), rel=1e-12)
    assert float(two_sided_p(0.0, 9)) == 1
    assert float(two_sided_p(math.inf, 9)) == 0


def test_standard_error_equals_formula() -> None:
    influence_M = np.array([0.5, -0.25, -0.75, 0.5, 0.0])
    assert standard_error(influence_M) == pytest.approx(math.sqrt(1.125 / 20), rel=1e-15)
    assert math.isnan(standard_error(influence_M[:3]))
    assert standard_error(np.zeros(4)) == 0


def test_standard_error_for_new_targets_equals_formula(rng: np.random.Generator) -> None:
    M, N = 30, 6
    f, g = rank_rows(rng.normal(size=(N, M))), rank_rows(rng.normal(size=(N, M)))
    rho_N, influence_NM = spearman(f, g), spearman_influence(f, g)
    psi_M = influence_NM.mean(axis=0)
    V_S, V_T = (psi_M**2).sum() / (M * (M - 1)), np.var(rho_N, ddof=1) / N
    V_ST = (influence_NM**2).sum() / (M * (M - 1) * N**2)
    expected = math.sqrt(max(V_S, V_T, V_S + V_T - V_ST))
    squared_N = (influence_NM**2).sum(axis=1)
    assert new_targets_error(psi_M, rho_N, squared_N) == pytest.approx(expected, rel=1e-12)
    # The result never falls below the larger of the two parts.
    assert new_targets_error(psi_M, rho_N, squared_N * 1e6) == pytest.approx(math.sqrt(max(V_S, V_T)), rel=1e-12)
    assert new_targets_error(psi_M, np.full(N, 0.2), squared_N) == standard_error(psi_M)
    wide_N = np.array([-0.9, 0.9, 0.8, 0.1, -0.7, 0.3])
    V_T = np.var(wide_N, ddof=1) / N
    assert V_T > V_S
    assert new_targets_error(psi_M, wide_N, squared_N * 1e6) == pytest.approx(math.sqrt(V_T), rel=1e-12)
    assert new_targets_error(psi_M, wide_N, squared_N * 0) == pytest.approx(math.sqrt(V_S + V_T), rel=1e-12)
    assert math.isnan(new_targets_error(psi_M, rho_N[:1], squared_N[:1]))
    assert math.isnan(new_targets_error(psi_M[:3], rho_N, squared_N))


@pytest.mark.parametrize("M", [20, 63, 64, 200])
@pytest.mark.parametrize("rho", [-0.9, -0.3, 0.0, 0.4, 0.95])
def test_interval_covers_raw_and_bias_corrected_value(rho: float, M: int) -> None:
    error = 0.01
    rho_N = np.array([rho, rho / 2])
    lds = float(rho_N.mean())
    tau_N = 2 / math.pi * np.arcsin(2 * np.sin(math.pi * rho_N / 6))
    bias = float(np.mean(3 * (rho_N - tau_N) / (M - 2)))
    if M < 64:
        half = stats.t.ppf(0.975, M - 2) * error * math.sqrt((M - 1) / (M - 2)) / (1 - lds**2)
        around = math.tanh(math.atanh(lds) - half), math.tanh(math.atanh(lds) + half)
    else:
        half = stats.t.ppf(0.975, M - 1) * error
        around = lds - half, lds + half
    low, high = interval(rho_N, lds, error, M)
    assert low == pytest.approx(around[0] + min(0, bias), rel=1e-12)
    assert high == pytest.approx(around[1] + max(0, bias), rel=1e-12)
    assert math.copysign(1, bias) == math.copysign(1, rho)


@pytest.mark.parametrize("M", [10, 100])
def test_interval_stays_between_minus_one_and_one(M: int) -> None:
    assert interval(np.ones(2), 1.0, 0.1, M)[1] == 1
    assert interval(-np.ones(2), -1.0, 0.1, M)[0] == -1
    assert interval(np.zeros(2), 0.0, 9.0, M) == (-1, 1)
    assert interval(np.ones(3), 1.0, 0.0, 100) == (1, 1)
    assert all(map(math.isnan, interval(np.ones(2), 1.0, math.nan, 3)))


@pytest.mark.parametrize("M", [8, 20, 63])
def test_interval_of_a_perfect_order_ends_at_one(M: int) -> None:
    one_exchange = stats.spearmanr(np.arange(M), [1, 0, *range(2, M)]).statistic
    half = stats.t.ppf(0.975, M - 2) / math.sqrt(M - 3)
    low, high = interval(np.ones(3), 1.0, 0.0, M)
    assert low == pytest.approx(math.tanh(math.atanh(one_exchange) - half), rel=1e-12)
    assert high == 1.0
    assert interval(-np.ones(3), -1.0, 0.0, M) == (-1.0, -low)


@pytest.mark.parametrize("rho", [0.95, 0.98, 0.99])
def test_interval_covers_values_near_one_at_few_subsets(rho: float) -> None:
    # One target, bivariate normal, M = 8. In 2,000 draws, the Monte Carlo standard error of .93 is .006. With a width
    # of 0 for an LDS of 1, the coverage was .93, .80 and .72.
    M, count = 8, 2000
    rng = np.random.default_rng([11, round(100 * rho)])
    r = 2 * math.sin(math.pi * rho / 6)
    x_dM, noise_dM = rng.normal(size=(2, count, M))
    y_dM = r * x_dM + math.sqrt(1 - r**2) * noise_dM
    found = [lds(x_M[:, None], np.eye(M, dtype=np.bool_), y_M[:, None]) for x_M, y_M in zip(x_dM, y_dM, strict=True)]
    covered = np.mean([each.confidence_interval[0] <= rho <= each.confidence_interval[1] for each in found])
    assert covered >= 0.93 - 3 * share_error(0.93, count)


def draws(
    count: int, M: int, n: int, levels: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Score one file against `count` draws of subsets and noise; return LDS, standard errors and interval ends."""
    rng = np.random.default_rng(5)
    effects_nN = rng.normal(size=(n, 4))
    scores_nN = np.rint(effects_nN + rng.normal(size=(n, 4))).clip(0, levels - 1) if levels else effects_nN
    found = []
    for _ in range(count):
        masks_Mn = rng.permuted(np.tile(np.arange(n) < n // 2, (M, 1)), axis=1)
        margins_MN = masks_Mn @ effects_nN + rng.normal(size=(M, 1)) * 2 + rng.normal(size=(M, 4)) * 2
        result = lds(scores_nN, masks_Mn, margins_MN)
        found.append((result.lds, result.std_error, *result.confidence_interval))
    lds_k, error_k, low_k, high_k = np.array(found).T
    return lds_k, error_k, np.array([low_k, high_k])


@pytest.mark.parametrize("levels", [0, 2], ids=["continuous", "two levels"])
def test_standard_error_equals_spread_over_draws(levels: int) -> None:
    count = 400
    lds_k, error_k, (low_k, high_k) = draws(count, M=100, n=24, levels=levels)
    # The standard deviation of 400 draws has a relative standard error of 1 / sqrt(2 * 399) = 3.5 %; allow three.
    assert float(error_k.mean()) == pytest.approx(lds_k.std(ddof=1), rel=3 * 0.035)
    covered = float(np.mean((low_k <= lds_k.mean()) & (lds_k.mean() <= high_k)))
    # Nominal coverage .95 with a Monte Carlo standard error of .011; the bias allowance only widens the interval.
    assert covered > 0.95 - 3 * 0.011

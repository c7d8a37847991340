"""The summary of rho over targets: quantiles, and the share of significant targets.

Legend: N targets.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from ldsboard import lds
from ldsboard.core.significance import spearman_p_values
from ldsboard.core.target_summary import summarise_targets

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.ldsboard.conftest import MakeProblem


def interpolated(rho_N: NDArray[np.float64], level: float) -> float:
    """Return a quantile: the value at position ``level (N - 1)`` of the sorted values, interpolated linearly."""
    position = level * (rho_N.size - 1)
    return float(np.interp(position, np.arange(rho_N.size), np.sort(rho_N)))


@pytest.mark.parametrize("N", [1, 2, 5, 60])
def test_summary_has_quantiles_of_rho_and_share_of_significant_targets(N: int, make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem(N=N)
    result = lds(scores, masks, margins)
    summary = result.target_summary
    found = [(each.statistic, each.pvalue) for each in map(stats.spearmanr, (masks @ scores).T, margins.T)]
    rho_N, p_values_N = np.array(found).T
    assert summary.count == N
    for name, level in (("low", 0.05), ("median", 0.5), ("high", 0.95)):
        assert getattr(summary, name) == pytest.approx(interpolated(rho_N, level), abs=1e-12)
    assert summary.median == pytest.approx(np.median(rho_N), abs=1e-12)
    assert summary.share_p05 == np.count_nonzero(p_values_N < 0.05) / N


def test_share_counts_negative_correlations_and_no_p_value_of_exactly_5_percent() -> None:
    summary = summarise_targets(np.array([-0.9, 0.1, 0.2, 0.3]), np.array([0.001, 0.05, np.nan, 0.0499]))
    assert summary.share_p05 == 0.5


def test_summary_does_not_depend_on_the_order_of_targets(rng: np.random.Generator) -> None:
    rho_N = rng.uniform(-1, 1, 40)
    p_values_N, order = spearman_p_values(rho_N, 30), rng.permutation(40)
    assert summarise_targets(rho_N[order], p_values_N[order]) == summarise_targets(rho_N, p_values_N)


def test_summary_of_negated_scores_is_mirrored(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem(N=30)
    summary, mirrored = (lds(sign * scores, masks, margins).target_summary for sign in (1, -1))
    assert (mirrored.low, mirrored.median, mirrored.high) == pytest.approx(
        (-summary.high, -summary.median, -summary.low), abs=1e-15
    )
    assert mirrored.share_p05 == summary.share_p05


def test_targets_with_constant_predictions_are_not_significant(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem(N=4)
    summary = lds(np.zeros_like(scores), masks, margins).target_summary
    assert asdict(summary) == {"count": 4, "median": 0, "low": 0, "high": 0, "share_p05": 0}

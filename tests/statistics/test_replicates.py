"""Reruns of one method: without replicates they are called different far too often, with three replicates they are not.

Legend: M subsets.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.statistics.digits import Digits, called_different

if TYPE_CHECKING:
    from tests.statistics.conftest import Report
    from tests.statistics.figures import Draws

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def digits() -> Digits:
    return Digits.trained(P=800, n=400, N=100)


@pytest.mark.parametrize("M", [100, 400, 800])
def test_reruns_of_one_method_are_rarely_called_different_with_three_replicates(
    digits: Digits, M: int, draws: Draws, report: Report
) -> None:
    # Each draw of subsets has twelve reruns of a similarity by random projection to 32 dimensions, of equal expected LDS. The
    # pairs of one draw depend on each other, so that the Monte Carlo error comes from the shares of the draws.
    rng = np.random.default_rng([22, M])
    found = [called_different(digits, rng, M) for _ in range(max(20, draws.count // 10))]
    figures = {}
    bars = {"files": "", "triples": "at most 5 %", "triple_and_file": "at most 7 %"}
    for name, bar in bars.items():
        shares = np.array([getattr(each, name) for each in found])
        figures[name] = (float(shares.mean()), float(shares.std(ddof=1)) / math.sqrt(shares.size))
        report(
            f"M {M}, {name.replace('_', ' ')}: {figures[name][0]:.3f} ± {figures[name][1]:.3f}", "called different", bar
        )
    assert figures["files"][0] > 0.2
    # The exact rate depends on the distribution of the LDS over seeds, which is not normal; three Monte Carlo errors of slack.
    assert figures["triples"][0] <= 0.05 + 3 * figures["triples"][1]
    assert figures["triple_and_file"][0] <= 0.07 + 3 * figures["triple_and_file"][1]

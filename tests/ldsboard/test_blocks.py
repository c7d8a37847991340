"""Blocks of targets: whole tiles of the kernel, every part once, and the route of a copy.

Legend: n training examples, N targets, b targets of one block.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import pytest

from ldsboard import GroundTruth
from ldsboard.core import blocks
from ldsboard.core.kernel import ROUTE_VARIABLE
from ldsboard.core.ranked_subsets import RankedSubsets
from tests.ldsboard.definition import result_bits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ldsboard.core.result import TargetBlock
    from tests.ldsboard.conftest import MakeProblem


def test_parts_with_the_same_subsets_are_scored_once(
    make_problem: MakeProblem, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores, masks, margins = make_problem(N=9)
    truth, scored = GroundTruth(masks, margins), []
    expected = result_bits(truth.score(scores))
    score_block = RankedSubsets.score_block

    def count(part: RankedSubsets, *arguments: Any) -> TargetBlock:
        scored.append(part.size)
        return score_block(part, *arguments)

    monkeypatch.setattr(RankedSubsets, "score_block", count)
    parts = {"public": slice(None), "ranking": slice(0, 40), "few": slice(0, 12)}
    results = truth.score(scores, splits=parts, threads=1)
    assert sorted(scored) == [12, 40]
    assert list(results) == list(parts)
    assert result_bits(results["public"]) == result_bits(results["ranking"]) == expected
    assert results["few"].influence.shape == (12,)


def record_widths(truth: GroundTruth, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which every later block adds its number of targets."""
    sums, widths = truth._product._sums, []

    def record(grid_nb: NDArray[np.float64]) -> NDArray[np.float64]:
        widths.append(grid_nb.shape[1])
        return sums(grid_nb)

    monkeypatch.setattr(truth._product, "_sums", record)
    return widths


@pytest.mark.parametrize(("N", "threads", "widths"), [(16, 8, [8, 8]), (5, 4, [5]), (40, 2, [24, 16]), (1, 1, [1])])
@pytest.mark.parametrize("limit", [2**26, 1])
def test_blocks_fill_the_tiles_of_the_kernel(
    N: int, threads: int, widths: list[int], limit: int, make_problem: MakeProblem, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores, masks, margins = make_problem(N=N)
    truth = GroundTruth(masks, margins)
    expected = result_bits(truth.score(scores, threads=1))
    seen = record_widths(truth, monkeypatch)
    monkeypatch.setattr(blocks, "MAX_BLOCK_BYTES", limit)
    assert result_bits(truth.score(scores, threads=threads)) == expected
    assert seen == (widths if limit > 1 else [min(8, N - first) for first in range(0, N, 8)])


def test_pickled_ground_truth_chooses_its_route_anew(
    make_problem: MakeProblem, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores, masks, margins = make_problem(M=70)
    truth = GroundTruth(masks, margins)
    expected, pickled = result_bits(truth.score(scores)), pickle.dumps(truth)
    monkeypatch.setenv(ROUTE_VARIABLE, "blas")
    again = pickle.loads(pickled)  # noqa: S301 -- pickled above
    assert again._product.route.name == "blas"
    assert result_bits(again.score(scores)) == expected

"""The progress that `GroundTruth.score` reports: its fractions, its thread, and how an exception in it stops the scoring."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard import GroundTruth, ProblemError
from ldsboard.core import blocks
from ldsboard.core.ranked_subsets import RankedSubsets
from tests.ldsboard.definition import result_bits

if TYPE_CHECKING:
    from tests.ldsboard.conftest import Large, MakeProblem


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """A number of threads; blocks of 7 targets are computed in threads, however small they are."""
    monkeypatch.setattr(blocks, "MAX_BLOCK_TARGETS", 7)
    monkeypatch.setattr(blocks, "MIN_THREADED_PRODUCTS", 0)
    number: int = request.param
    return number


def test_progress_is_the_share_of_scored_targets_after_each_block(threads: int, make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem(N=30)
    seen: list[float] = []
    GroundTruth(masks, margins).score(scores, threads=threads, progress=seen.append)
    assert seen == [7 / 30, 14 / 30, 21 / 30, 28 / 30, 1.0]
    assert {type(fraction) for fraction in seen} == {float}


def test_progress_without_threads_ends_with_one(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem(N=12)
    seen: list[float] = []
    truth = GroundTruth(masks, margins)
    truth.score(scores, threads=2, progress=seen.append)
    assert seen == [8 / 12, 1.0]
    truth.score(scores, {"first": slice(0, 20), "second": slice(20, None)}, threads=1, progress=seen.append)
    assert seen == [8 / 12, 1.0, 1.0]


def test_progress_changes_no_bit(threads: int, large: Large) -> None:
    scores, masks, margins = large
    truth = GroundTruth(masks, margins)
    seen: list[float] = []
    reported = truth.score(scores, threads=threads, progress=seen.append)
    assert len(seen) == -(-300 // 7)
    assert result_bits(reported) == result_bits(truth.score(scores, threads=threads))


def test_progress_is_called_in_the_calling_thread(threads: int, make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem(N=30)
    callers = set()
    GroundTruth(masks, margins).score(
        scores, threads=threads, progress=lambda _: callers.add(threading.current_thread())
    )
    assert callers == {threading.current_thread()}


def test_ranking_comes_before_the_first_fraction(make_problem: MakeProblem, monkeypatch: pytest.MonkeyPatch) -> None:
    scores, masks, margins = make_problem()
    steps: list[object] = []
    ranked = RankedSubsets.of

    def rank(*arguments: Any) -> RankedSubsets:
        steps.append("ranked")
        return ranked(*arguments)

    monkeypatch.setattr(RankedSubsets, "of", rank)
    truth = GroundTruth(masks, margins)
    for _ in range(2):
        truth.score(scores, threads=1, progress=steps.append)
    assert steps == ["ranked", 1.0, 1.0]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_exception_in_progress_stops_the_scoring(
    error: type[BaseException], threads: int, large: Large, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores, masks, margins = large
    truth = GroundTruth(masks, margins)
    expected = result_bits(truth.score(scores))
    begun = []
    score_block = RankedSubsets.score_block

    def note(part: RankedSubsets, predictions: Any, first: int, route: Any) -> Any:
        begun.append(first)
        return score_block(part, predictions, first, route)

    def stop(fraction: float) -> None:
        if fraction > 0.04:  # after the second block
            raise error

    monkeypatch.setattr(RankedSubsets, "score_block", note)
    before = set(threading.enumerate())
    with pytest.raises(error) as caught:
        truth.score(scores, threads=threads, progress=stop)
    # `caught` keeps the frames of the scoring; its threads must have ended nevertheless.
    assert set(threading.enumerate()) <= before
    assert caught.value is not None
    assert 2 <= len(begun) <= 2 + threads
    monkeypatch.undo()
    assert result_bits(truth.score(scores)) == expected


def test_progress_ends_before_a_block_that_cannot_be_scored(threads: int, make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem(N=30)
    scores[4, 15] = np.nan
    seen: list[float] = []
    with pytest.raises(ProblemError, match="1 NaN or infinite"):
        GroundTruth(masks, margins).score(scores, threads=threads, progress=seen.append)
    assert seen == [7 / 30, 14 / 30]

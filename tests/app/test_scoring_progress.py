"""The progress of an evaluation: what is saved, how often, and where it is shown."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from sqlalchemy import event, select
from sqlalchemy.exc import OperationalError

from app.db.models import Evaluation, State, Submission
from app.errors import BusyError
from app.pages.submissions import show_state
from app.results import submission_views
from app.scoring import progress, queue
from app.scoring.progress import ProgressRecord
from ldsboard import ProblemError
from tests.app.sandbox.altered import Gate
from tests.app.service import PATIENCE_SECONDS, npy, until

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from app.context import AppContext
    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness

pytestmark = pytest.mark.database


class Clock:
    """The clock of `app.scoring.progress`; it moves only when a test moves it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 1000.0
        monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: self.seconds))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def _evaluation(harness: ServiceHarness, submission_id: str) -> Evaluation:
    with harness.database.read() as session:
        return session.scalars(select(Evaluation).where(Evaluation.submission_id == submission_id)).one()


def _claimed(harness: ServiceHarness, toy: Example) -> Evaluation:
    """Return a claimed evaluation."""
    submission_id = harness.accept(npy(toy.scores()))
    with harness.database.write() as session:
        assert queue.claim(session) is not None
    return _evaluation(harness, submission_id)


def _shown(harness: ServiceHarness, submission_id: str) -> float | None:
    """Return the progress in the API's view."""
    with harness.database.read() as session:
        return submission_views.submission_view(session, session.get_one(Submission, submission_id)).progress


def _fragment(harness: ServiceHarness, submission_id: str) -> tuple[int, str | None, str]:
    """Return the status, the header HX-Reswap and the text of the answer to a page that polls and has seen the state."""
    with harness.database.read() as session:
        context = cast(
            "AppContext", SimpleNamespace(sandbox=harness.sandbox, settings=SimpleNamespace(workers_score=False))
        )
        answer = show_state(session, context, None, submission_id, seen="scoring")
    return answer.status_code, answer.headers.get("HX-Reswap"), bytes(answer.body).decode().strip()


def _writes(harness: ServiceHarness) -> list[str]:
    """Return a list to which every later change of an evaluation is appended."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("UPDATE evaluation"):
            statements.append(statement)

    event.listen(harness.database.engine, "before_cursor_execute", note)
    return statements


def test_progress_of_a_real_scoring_process_is_shown_and_cleared(
    harness: ServiceHarness, toy: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "WRITE_SECONDS", 0.0)
    submission_id = harness.accept(npy(toy.scores()))
    with ThreadPoolExecutor(1) as pool:
        with Gate(tmp_path / "gate", monkeypatch) as gate:
            scored = pool.submit(harness.evaluator.evaluate_next)
            for percent in (14, 28, 42):  # after 1, 2 and 3 of 7 targets
                gate.let_through()
                until(lambda: _shown(harness, submission_id) == percent / 100, f"{percent} %")  # noqa: B023 -- called at once
            share = '<span id="progress" aria-live="off" hx-swap-oob="true">, 42&#8239;%</span>'
            assert _fragment(harness, submission_id) == (200, "none", share)
        assert scored.result(PATIENCE_SECONDS)
    assert (harness.state(submission_id), _shown(harness, submission_id)) == (State.SCORED, None)
    assert _evaluation(harness, submission_id).percent is None


def test_fast_evaluation_writes_no_progress(harness: ServiceHarness, toy: Example, clock: Clock) -> None:
    writes, claimed = _writes(harness), _claimed(harness, toy)
    record = ProgressRecord(harness.database, claimed)
    clock.seconds += 0.999
    writes.clear()
    for fraction in (0.1, 0.5, 1.0):
        record.save(fraction)
    assert writes == []
    assert _shown(harness, claimed.submission_id) is None
    assert _fragment(harness, claimed.submission_id) == (204, None, "")


def test_flood_of_fractions_writes_at_most_once_a_second(harness: ServiceHarness, toy: Example, clock: Clock) -> None:
    writes, claimed = _writes(harness), _claimed(harness, toy)
    record = ProgressRecord(harness.database, claimed)
    writes.clear()
    for _ in range(10):
        clock.seconds += 1.0
        for step in range(1, 100):
            record.save(step / 100)
    assert len(writes) == 10
    assert _shown(harness, claimed.submission_id) == 0.1  # the first higher percent of each second


def test_each_percent_is_written_once_and_never_decreases(harness: ServiceHarness, toy: Example, clock: Clock) -> None:
    writes, claimed = _writes(harness), _claimed(harness, toy)
    record = ProgressRecord(harness.database, claimed)
    writes.clear()
    for fraction in (0.004, 0.2, 0.2, 0.2099, 0.1, 1e-300):
        clock.seconds += 100.0
        record.save(fraction)
    assert len(writes) == 1
    assert _shown(harness, claimed.submission_id) == 0.2
    for step in range(1, 1001):
        clock.seconds += 100.0
        record.save(step / 1000)
    assert len(writes) == 1 + 80
    assert _shown(harness, claimed.submission_id) == 1.0


@pytest.mark.parametrize("change", ["requeued", "claimed again", "failed", "withdrawn"])
def test_progress_is_saved_only_for_the_holder_of_the_claim(
    harness: ServiceHarness, toy: Example, clock: Clock, change: str
) -> None:
    claimed = _claimed(harness, toy)
    record = ProgressRecord(harness.database, claimed)
    clock.seconds += 1.0
    record.save(0.4)
    assert _shown(harness, claimed.submission_id) == 0.4
    with harness.database.write() as session:
        evaluation = session.get_one(Evaluation, claimed.id)
        if change == "failed":
            queue.record_failure(session, evaluation, 0.0)
        else:
            queue.requeue(session, evaluation, "requeued")
        if change == "withdrawn":
            harness.withdraw(session, claimed.submission_id)
        session.flush()
        if change == "claimed again":
            assert queue.claim(session) is evaluation
    clock.seconds += 1.0
    record.save(0.8)
    assert _shown(harness, claimed.submission_id) is None
    if change != "withdrawn":
        assert _evaluation(harness, claimed.submission_id).percent is None


def test_progress_is_cleared_when_the_file_is_rejected(
    harness: ServiceHarness, toy: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "WRITE_SECONDS", 0.0)
    submission_id = harness.accept(npy(toy.scores()))

    def report_and_reject(*arguments: Any) -> None:
        arguments[-1](0.6)
        assert _shown(harness, submission_id) == 0.6
        raise ProblemError("scores.nonfinite", "A score is NaN.", "Remove the NaN.")

    monkeypatch.setattr(harness.sandbox, "score", report_and_reject)
    assert harness.evaluator.evaluate_next()
    assert (harness.state(submission_id), _shown(harness, submission_id)) == (State.REJECTED, None)
    assert _evaluation(harness, submission_id).percent is None


@pytest.mark.parametrize("error", [BusyError(), OperationalError("UPDATE", {}, Exception("locked"))])
def test_evaluation_goes_on_if_its_progress_cannot_be_saved(
    harness: ServiceHarness,
    toy: Example,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(progress, "WRITE_SECONDS", 0.0)
    submission_id, score = harness.accept(npy(toy.scores())), harness.sandbox.score

    def unwritable() -> None:
        raise error

    def report_and_score(*arguments: Any) -> Any:
        with monkeypatch.context() as broken:
            broken.setattr(harness.database, "write", unwritable)
            arguments[-1](0.6)
        return score(*arguments)

    monkeypatch.setattr(harness.sandbox, "score", report_and_score)
    assert harness.evaluator.evaluate_next()
    assert harness.state(submission_id) == State.SCORED
    assert "progress.not_saved" in capsys.readouterr().out


def test_rescoring_reports_no_progress(harness: ServiceHarness, toy: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    submission_id = harness.accept(npy(toy.scores()))
    reports, score = [], harness.sandbox.score

    def note(*arguments: Any) -> Any:
        reports.append(arguments[-1])
        return score(*arguments)

    monkeypatch.setattr(harness.sandbox, "score", note)
    assert harness.evaluator.evaluate_next()
    with harness.database.write() as session:
        evaluation = session.scalars(select(Evaluation).where(Evaluation.submission_id == submission_id)).one()
        again = Evaluation(
            submission_id=submission_id, version_id=evaluation.version_id, scorer_version=evaluation.scorer_version
        )
        evaluation.scorer_version -= 1
        session.flush()
        session.add(again)
    assert harness.evaluator.evaluate_next()
    assert [report is None for report in reports] == [False, True]

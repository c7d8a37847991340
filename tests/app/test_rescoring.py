"""Rescoring: a leaderboard changes to a new scorer version as a whole, and never mixes results of two scorer versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import delete, select, update

from app.db.models import Benchmark, Evaluation, Measurement, State, Submission, Version
from app.results import current_evaluation
from app.scoring import queue, rescoring
from app.submissions import lifecycle
from ldsboard.core import result
from tests.app.benchmarks import write_benchmark
from tests.app.service import npy

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness
    from tests.app.service import Service

pytestmark = pytest.mark.database


def test_new_scorer_version_is_shown_when_all_entries_are_rescored(
    harness: ServiceHarness, toy: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [harness.accept(npy(toy.scores(noise)), f"m-{noise}") for noise in (0.3, 0.6)]
    while harness.evaluator.evaluate_next():
        pass
    with harness.database.write() as session:  # marks the results of the old scorer version
        for measurement in session.scalars(select(Measurement)):
            measurement.mean_p = 0.125
    monkeypatch.setattr(result, "SCORER_VERSION", 2)
    with harness.database.write() as session:
        assert rescoring.queue_rescorings(session) == 2
    assert harness.evaluator.evaluate_next()
    ids.append(harness.accept(npy(toy.scores(0.9)), "m-new"))  # scored by version 2 at once, listed with the rest
    assert harness.evaluator.evaluate_next()
    assert harness.leaderboard() == (1, 1, set(ids[:2]))
    assert _mean_p(harness, ids[0]) == 0.125
    assert _mean_p(harness, ids[2]) != 0.125
    assert harness.evaluator.evaluate_next()
    assert harness.leaderboard() == (1, 2, set(ids))
    assert _mean_p(harness, ids[0]) != 0.125
    with harness.database.write() as session:
        assert rescoring.queue_rescorings(session) == 0


def _mean_p(harness: ServiceHarness, submission_id: str) -> float:
    with harness.database.read() as session:
        submission = session.get_one(Submission, submission_id)
        return current_evaluation.scored_evaluations(session, [submission])[0].parts["public"].mean_p


def test_missing_file_blocks_the_new_version_until_it_is_restored(
    harness: ServiceHarness, toy: Example, tmp_path: Path
) -> None:
    sent = harness.accept(npy(toy.scores()), "only")
    assert harness.evaluator.evaluate_next()
    with harness.database.read() as session:
        path = harness.storage.path(str(session.get_one(Submission, sent).file_sha256))
    away = path.rename(path.with_name("away"))
    harness.publish(write_benchmark(tmp_path / "new", version=2, ranking=130).folder)
    while harness.evaluator.evaluate_next():
        pass
    assert harness.leaderboard() == (1, 1, {sent})
    assert harness.state(sent) == State.SCORED
    away.rename(path)
    with harness.database.write() as session:
        assert rescoring.queue_rescorings(session) == 1
    assert harness.evaluator.evaluate_next()
    assert harness.leaderboard() == (2, 1, {sent})


def test_retry_delay_grows_with_each_failure(harness: ServiceHarness, toy: Example) -> None:
    harness.evaluator.retry_seconds = 100
    sent = harness.accept(npy(toy.scores()), "m")
    with harness.database.read() as session:
        harness.storage.delete(str(session.get_one(Submission, sent).file_sha256))
    assert harness.evaluator.evaluate_next()
    assert not harness.evaluator.evaluate_next()
    waits = []
    for _ in range(2):
        with harness.database.write() as session:
            evaluation = session.scalars(select(Evaluation)).one()
            assert evaluation.not_before is not None
            waits.append(evaluation.not_before)
            evaluation.not_before = None
        assert harness.evaluator.evaluate_next()
    with harness.database.read() as session:
        evaluation = session.scalars(select(Evaluation)).one()
        assert evaluation.not_before is not None
        waits.append(evaluation.not_before)
    assert (waits[1] - waits[0]).total_seconds() == pytest.approx(300, abs=20)
    assert (waits[2] - waits[1]).total_seconds() == pytest.approx(1200, abs=20)


def test_rescore_command_reports_that_nothing_is_outdated(service: Service) -> None:
    service.wait_until_idle()
    assert service.run("rescore").stdout == "Every board shows the results of the current scorer version.\n"
    with service.database.read() as session:
        assert session.scalars(select(Benchmark.next_version).where(Benchmark.next_version.is_not(None))).all() == []
        assert set(session.scalars(select(Version.scorer_version))) == {result.SCORER_VERSION}


def test_withdrawal_during_rescoring_stores_no_measurements(
    harness: ServiceHarness, toy: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = harness.accept(npy(toy.scores()), "only")
    assert harness.evaluator.evaluate_next()
    harness.publish(write_benchmark(tmp_path / "new", version=2, ranking=130).folder)
    score = harness.sandbox.score

    def interrupted(*arguments: Any) -> Any:
        found = score(*arguments)
        with harness.database.write() as session:
            harness.withdraw(session, sent)
        return found

    monkeypatch.setattr(harness.sandbox, "score", interrupted)
    assert harness.evaluator.evaluate_next()
    assert harness.state(sent) == State.WITHDRAWN
    assert harness.count(Measurement) == 0
    assert harness.leaderboard() == (2, 1, set())


def test_new_scorer_version_evaluates_queued_and_rescored_submissions(
    harness: ServiceHarness, toy: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = harness.accept(npy(toy.scores(0.3)), "first")
    assert harness.evaluator.evaluate_next()
    waiting = harness.accept(npy(toy.scores(0.6)), "waiting")
    harness.publish(write_benchmark(tmp_path / "new", version=2, ranking=130).folder)
    monkeypatch.setattr(result, "SCORER_VERSION", 2)
    with harness.database.write() as session:
        rescoring.queue_rescorings(session)
    assert harness.leaderboard() == (1, 1, {first})
    while harness.evaluator.evaluate_next():
        pass
    assert harness.leaderboard() == (2, 2, {first, waiting})


def test_result_is_not_written_to_a_reused_evaluation_id(
    harness: ServiceHarness, toy: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = harness.accept(npy(toy.scores(0.3)), "first")
    score = harness.sandbox.score
    others: list[str] = []

    def interrupted(*arguments: Any) -> Any:
        found = score(*arguments)
        if not others:
            with harness.database.write() as session:
                first = session.scalars(select(Evaluation.id)).one()
                session.execute(delete(Evaluation))
                lifecycle.transition(session, sent, State.SCORING, State.QUEUED)
            others.append(harness.accept(npy(-toy.scores(0.3)), "other"))
            with harness.database.write() as session:
                session.execute(update(Evaluation).values(id=first))  # SQLite itself reuses the id of the deleted row
                assert queue.claim(session) == session.get_one(Evaluation, first)
        return found

    monkeypatch.setattr(harness.sandbox, "score", interrupted)
    harness.evaluator.evaluate_next()
    assert harness.count(Measurement) == 0
    assert harness.state(others[0]) == State.SCORING

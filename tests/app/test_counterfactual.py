"""Counterfactual evaluations by the service: which entries, in what order, and what is saved after a result or a failure."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from sqlalchemy import update

from app.counterfactual import queue, runner
from app.counterfactual.process import Limits, Retraining
from app.counterfactual.queue import Boards
from app.counterfactual.runner import Retrainings
from app.db.base import now
from app.db.counterfactuals import Counterfactual
from app.db.models import Kind, Submission, Visibility
from app.db.presence import Presence, Use, process_name
from app.leaderboard.entries import list_entries
from app.management.removal import delete_submissions
from tests.app.harness import ServiceHarness
from tests.app.retraining import evaluate, saved, stored_falls
from tests.app.service import npy, until
from tests.processes import children, command_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from app.db.sessions import Database
    from tests.app.benchmarks import Example

AMPLE = Limits(seconds=1000.0, memory=2**32)


@pytest.fixture
def harness(database: Database, tmp_path: Path, trainable: Example) -> Iterator[ServiceHarness]:
    """The service without a server, with a benchmark whose models can be trained again."""
    opened = ServiceHarness(database, tmp_path, trainable)
    yield opened
    opened.close()


def retrainings(harness: ServiceHarness, tmp_path: Path, limits: Limits = AMPLE) -> Retrainings:
    return Retrainings(harness.database, harness.storage, harness.benchmarks, tmp_path / "parts", limits, 10.0)


def entry(harness: ServiceHarness, trainable: Example, method: str = "ours", seed: int = 0, **fields: Any) -> str:
    """Submit and score a file, and return the id of its submission."""
    name = harness.accept(npy(trainable.scores(seed=seed)), method, **fields)
    assert harness.evaluator.evaluate_next()
    return name


@pytest.mark.database
def test_an_entry_is_evaluated_once_with_the_numbers_of_the_library(
    harness: ServiceHarness, trainable: Example, tmp_path: Path
) -> None:
    name = entry(harness, trainable)
    service = retrainings(harness, tmp_path)
    assert service.evaluate_next()
    assert not service.evaluate_next()
    row, result = saved(harness.database)[name], evaluate(trainable, tmp_path / "own")
    assert row.falls == stored_falls(result)
    assert row.headline == result.falls["proponents", result.plan.headline].margin.astype("<f8").tobytes()
    assert row.numbers is not None
    assert row.numbers["rows"] == json.loads(json.dumps(result.rows()))
    assert row.numbers["before"] == result.before.tolist()
    assert (row.numbers["targets"], row.numbers["sizes"]) == ([*range(7)], [1, 3])
    assert (row.claimed_at, row.worker, row.percent, row.failures, row.reason) == (None, None, None, 0, None)
    assert row.ended_at is not None


@pytest.mark.database
def test_only_listed_entries_are_evaluated_the_first_submission_first(
    harness: ServiceHarness, trainable: Example, tmp_path: Path
) -> None:
    entry(harness, trainable, "practised", kind=Kind.PRACTICE)
    entry(harness, trainable, "replaced", seed=1)
    hidden = entry(harness, trainable, "hidden", seed=2)
    with harness.database.write() as session:
        session.get_one(Submission, hidden).visibility = Visibility.PRIVATE
    anonymous = entry(harness, trainable, "named", seed=3, visibility=Visibility.ANONYMOUS)
    listed = entry(harness, trainable, "replaced", seed=4)
    service = retrainings(harness, tmp_path)
    assert service.evaluate_next()
    assert saved(harness.database).keys() == {anonymous}
    assert service.evaluate_next()
    assert not service.evaluate_next()
    assert saved(harness.database).keys() == {anonymous, listed}
    later = entry(harness, trainable, "later", seed=5)
    assert service.evaluate_next()
    assert saved(harness.database).keys() == {anonymous, listed, later}


def test_a_board_whose_entries_have_ended_is_not_read_again(
    harness: ServiceHarness, trainable: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry(harness, trainable)
    assert retrainings(harness, tmp_path).evaluate_next()
    boards, listed = Boards(), []
    read = list_entries

    def count(*args: Any) -> Any:
        listed.append(args)
        return read(*args)

    monkeypatch.setattr(queue, "list_entries", count)
    with harness.database.read() as session:
        assert boards.next_waiting(session) is None
        assert boards.next_waiting(session) is None
    assert len(listed) == 1


def test_a_benchmark_that_cannot_be_trained_is_left_out(database: Database, tmp_path: Path, toy: Example) -> None:
    harness = ServiceHarness(database, tmp_path, toy)
    entry(harness, toy)
    assert not retrainings(harness, tmp_path).evaluate_next()
    assert saved(harness.database) == {}
    harness.close()


def test_too_long_an_evaluation_ends_with_the_reason(
    harness: ServiceHarness, trainable: Example, tmp_path: Path
) -> None:
    name = entry(harness, trainable)
    service = retrainings(harness, tmp_path, Limits(seconds=1e-6, memory=2**32))
    assert service.evaluate_next()
    assert not service.evaluate_next()
    row = saved(harness.database)[name]
    assert row.numbers is None
    assert row.reason is not None
    assert row.reason.startswith("The models of this evaluation that remain take about ")
    assert row.reason.endswith(" s of processor time, and the server allows 0 s.")


def test_failures_are_tried_again_later_and_end_with_an_alert(
    harness: ServiceHarness, trainable: Example, tmp_path: Path
) -> None:
    """No process can start with so little memory."""
    name = entry(harness, trainable)
    service = retrainings(harness, tmp_path, Limits(seconds=1000.0, memory=2**20))
    for failures, seconds in enumerate((10, 40, 160, 640), 1):
        assert service.evaluate_next()
        row = saved(harness.database)[name]
        assert (row.failures, row.claims, row.claimed_at, row.worker) == (failures, failures, None, None)
        assert row.not_before is not None
        assert abs(row.not_before - now() - timedelta(seconds=seconds)) < timedelta(seconds=8)
        assert not service.evaluate_next()
        with harness.database.write() as session:
            session.execute(update(Counterfactual).values(not_before=now()))
    assert not service.evaluate_next()
    assert saved(harness.database)[name].reason == queue.FAILED


def test_a_killed_evaluation_goes_on_with_its_finished_parts(
    harness: ServiceHarness, trainable: Example, tmp_path: Path
) -> None:
    name = entry(harness, trainable)
    service, parts = retrainings(harness, tmp_path), tmp_path / "parts"
    working = threading.Thread(target=service.evaluate_next)
    working.start()
    until(lambda: list(parts.glob("*/*.npz")), "a finished part")
    service.stop()
    working.join()
    row = saved(harness.database)[name]
    if row.ended_at is None:  # unless the kill came after the last part
        assert (row.claimed_at, row.worker, row.failures) == (None, None, 0)
    before = {path: path.stat().st_mtime_ns for path in parts.glob("*/*.npz")}
    retrainings(harness, tmp_path).evaluate_next()
    assert before.items() <= {path: path.stat().st_mtime_ns for path in parts.glob("*/*.npz")}.items()
    assert saved(harness.database)[name].falls == stored_falls(evaluate(trainable, tmp_path / "own"))


def test_no_models_are_trained_while_a_file_is_scored(
    harness: ServiceHarness, trainable: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = entry(harness, trainable)
    service, score = retrainings(harness, tmp_path), harness.sandbox.score
    harness.evaluator.undisturbed = service.paused

    def child() -> psutil.Process | None:
        pids = [pid for pid in children(os.getpid()) if "-m ldsboard.retraining" in command_line(pid)]
        return psutil.Process(pids[0]) if pids else None

    def watched(*arguments: Any) -> Any:
        with service.paused():  # by a second evaluation
            scored = score(*arguments)
        process = child()
        seen.append(process and until(lambda: process.status() == psutil.STATUS_STOPPED, "a stopped process"))
        return scored

    seen: list[Any] = []
    monkeypatch.setattr(harness.sandbox, "score", watched)
    working = threading.Thread(target=service.evaluate_next)
    with service.paused():
        working.start()
        until(lambda: name in saved(harness.database), "a claim")
        entry(harness, trainable, "first", seed=1)
        assert seen == [None]  # none was started
    running = until(child, "a process that trains")
    entry(harness, trainable, "second", seed=2)
    assert seen == [None, True]
    assert not running.is_running() or running.status() != psutil.STATUS_STOPPED
    working.join()
    assert saved(harness.database)[name].falls == stored_falls(evaluate(trainable, tmp_path / "own"))


@pytest.mark.database
def test_nothing_is_saved_for_a_claim_that_has_ended(harness: ServiceHarness, trainable: Example) -> None:
    name, other = entry(harness, trainable), entry(harness, trainable, "other", seed=1)
    with harness.database.write() as session:
        waiting = Boards().next_waiting(session)
        assert waiting is not None
        assert waiting.submission_id == name
        first, again = queue.claim(session, waiting), queue.claim(session, waiting)
        assert first is not None
        assert again is not None
        queue.release(session, first)
        queue.fail(session, first, 1.0)
        queue.save(session, first, {}, b"", b"")
        queue.give_up(session, first, "no reason")
        row = queue.held(session, again)
        assert row is not None
        assert (row.claims, row.failures, row.ended_at) == (2, 0, None)
    with harness.database.write() as session:
        delete_submissions(session, [name])
        claim = queue.claim(session, queue.Waiting(other, waiting.version_id))
        assert claim is not None
        assert queue.held(session, again) is None  # SQLite gives the new row the id of the old one
        assert queue.claim(session, waiting) is None
    assert saved(harness.database).keys() == {other}


def test_a_withdrawn_submission_loses_its_evaluation(
    harness: ServiceHarness, trainable: Example, tmp_path: Path
) -> None:
    name = entry(harness, trainable)
    assert retrainings(harness, tmp_path).evaluate_next()
    with harness.database.write() as session:
        harness.withdraw(session, name)
    assert saved(harness.database) == {}


@pytest.mark.database
def test_claims_of_running_processes_are_respected(harness: ServiceHarness, trainable: Example) -> None:
    """On SQLite, there is no other process; on PostgreSQL, a process runs while it is connected."""
    name = entry(harness, trainable)
    with harness.database.write() as session:
        waiting = Boards().next_waiting(session)
        assert waiting is not None
        assert queue.claim(session, waiting) is not None
        assert Boards().next_waiting(session) == waiting  # this process looks for work, so its claim has ended
        session.execute(update(Counterfactual).values(worker="elsewhere/1"))
        assert Boards().next_waiting(session) == waiting
    if harness.database.engine.dialect.name != "postgresql":
        return
    harness.presence.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.db.presence.process_name", lambda: "elsewhere/1")
        other = Presence(harness.database, Use.WORKER)
    with harness.database.write() as session:
        assert Boards().next_waiting(session) is None
        assert queue.claim(session, waiting) is None
    other.close()
    with harness.database.write() as session:
        until(lambda: Boards().next_waiting(session), "a released claim")
        claim = queue.claim(session, waiting)
        assert claim is not None
        assert (claim.submission_id, claim.claims) == (name, 2)
        assert session.get_one(Counterfactual, claim.id).worker == process_name()


def test_the_process_gets_no_credentials(
    harness: ServiceHarness, trainable: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry(harness, trainable)
    started: list[dict[str, str]] = []
    popen: Any = subprocess.Popen

    def start(*arguments: Any, env: dict[str, str], **options: Any) -> Any:
        started.append(env)
        return popen(*arguments, env=env, **options)

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setattr("subprocess.Popen", start)
    assert retrainings(harness, tmp_path).evaluate_next()
    (environment,) = started
    assert "PATH" in environment
    assert not [name for name in environment if name.startswith(("AWS_", "LDSBOARD_"))]


def test_only_parts_that_were_not_used_for_long_are_deleted(
    harness: ServiceHarness, trainable: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry(harness, trainable)
    service, parts = retrainings(harness, tmp_path), tmp_path / "parts"
    assert service.evaluate_next()
    used = {*parts.iterdir()}
    (parts / "old").mkdir()
    for folder in parts.iterdir():
        os.utime(folder, (0, 0))
    entry(harness, trainable, "again")
    monkeypatch.setattr(runner, "IDLE_SECONDS", 0.01)
    service.start()
    until(lambda: not (parts / "old").exists(), "the end of the old folder")
    service.stop()
    assert {*parts.iterdir()} == used
    assert all(row.ended_at for row in saved(harness.database).values())


def test_percent_is_saved(
    harness: ServiceHarness, trainable: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = entry(harness, trainable)
    monkeypatch.setattr(runner, "REPORT_SECONDS", 0.0)
    seen = []
    run = Retraining.run

    def spy(self: Retraining, benchmark: Path, scores: Path, report: Any) -> Any:
        def noting(fraction: float) -> None:
            report(fraction)
            row = saved(harness.database)[name]
            seen.append((int(100 * fraction), row.percent, row.worker))

        return run(self, benchmark, scores, noting)

    monkeypatch.setattr(Retraining, "run", spy)
    assert retrainings(harness, tmp_path).evaluate_next()
    assert {worker for _, _, worker in seen} == {process_name()}
    assert [percent for percent, _, _ in seen] == [percent for _, percent, _ in seen]
    assert seen[-1][0] == 100
    assert len(seen) > 10

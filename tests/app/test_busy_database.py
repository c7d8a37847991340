"""A locked database: writers get 503 with Retry-After, publishing does not lock, and recovery finds interrupted work."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, select
from sqlalchemy.pool import QueuePool

from app.benchmarks import catalog
from app.db.accounts import User
from app.db.models import State, Submission
from app.db.sessions import Database
from app.management.recovery import recover_lost
from app.pages import site
from app.scoring import queue
from app.scoring.sandbox.client import Sandbox
from app.web import problem_responses
from tests.app.benchmarks import write_benchmark
from tests.app.commands import run_in_process
from tests.app.service import ROOT, Service, npy, until
from tests.app.test_concurrency import begin_upload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from app.scoring.sandbox.part_results import PartResult
    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness


pytestmark = pytest.mark.serial  # the server waits only 0.1 s for the database


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, toy: Example, wide: Example) -> Iterator[Service]:
    """A server that waits 0.1 s for the database lock."""
    with Service(tmp_path_factory.mktemp("busy"), busy_seconds=0.1) as running:
        running.publish(toy.folder)
        running.publish(wide.folder)
        yield running


@contextmanager
def _locked(database: Database) -> Iterator[None]:
    with database.write() as session:
        session.connection()
        yield


def test_locked_database_returns_503_with_retry_after(service: Service, toy: Example) -> None:
    token = service.token("ann", ranked_per_day=1)
    rows = service.rows()
    with _locked(service.database):
        refused = service.submit(token, "toy", npy(toy.scores()))
        assert service.client.get("/benchmarks").status_code == 200
    assert (refused.status_code, refused.json()["code"]) == (503, "internal.busy")
    assert refused.headers["Retry-After"] == "5"
    assert service.rows() == rows
    assert service.submit(token, "toy", npy(toy.scores())).status_code == 202


def test_exhausted_connection_pool_returns_503_with_retry_after() -> None:
    app = FastAPI()
    problem_responses.install_problem_handlers(app, site.problem_page)
    engine = create_engine("sqlite://", poolclass=QueuePool, pool_size=1, max_overflow=0, pool_timeout=0)

    @app.get("/")
    def ask() -> None:
        with engine.connect(), engine.connect():
            pass

    client = TestClient(app)
    answer, page = client.get("/"), client.get("/", headers={"Accept": "text/html"})
    engine.dispose()
    assert (answer.status_code, answer.json()["code"]) == (503, "internal.busy")
    assert (page.status_code, page.headers["Retry-After"]) == (503, "5")
    assert "internal.busy" in page.text
    assert page.text.startswith("<!DOCTYPE html>")


def test_database_that_does_not_answer_is_not_called_busy(capsys: pytest.CaptureFixture[str]) -> None:
    app = FastAPI()
    problem_responses.install_problem_handlers(app, site.problem_page)
    database = Database("postgresql://nobody@localhost:1/none")

    @app.get("/")
    def ask() -> None:
        with database.read() as session:
            session.connection()

    client = TestClient(app)
    answer, page = client.get("/"), client.get("/", headers={"Accept": "text/html"})
    database.close()
    assert (answer.status_code, answer.json()["code"]) == (503, "internal.database")
    assert (page.status_code, page.headers["Retry-After"]) == (503, "5")
    for text in (answer.text, page.text):
        assert "The database does not answer." in text
        assert "locked" not in text
    logged = capsys.readouterr().out
    assert "database.away" in logged
    assert "database.busy" not in logged


def test_publishing_copies_arrays_without_locking_the_database(service: Service, toy: Example, tmp_path: Path) -> None:
    folder = write_benchmark(tmp_path, "slow").folder
    writer, reader = os.openpty()
    # Copying a terminal lasts until the test sends end-of-file.
    (folder / "public" / "endless").symlink_to(os.ttyname(reader))
    copy = service.settings.benchmarks_dir / "slow" / "1.partial" / "public" / "endless"
    command = [sys.executable, "-m", "app", "benchmark", "publish", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, env=service.environment, stdout=subprocess.PIPE, text=True) as publishing:
        try:
            until(copy.exists, "a copy under way")
            token = service.token("ben")
            assert service.submit(token, "toy", npy(toy.scores(seed=1))).status_code == 202
            refused = run_in_process(service, "benchmark", "publish", str(toy.folder))
            assert "Another process is publishing a benchmark" in refused.stderr
        finally:
            os.write(writer, b"\x04")  # end-of-file
        expected = f"Published slow version 1 in the data folder {service.settings.data_dir}.\n"
        assert publishing.communicate()[0] == expected
    for descriptor in (writer, reader):
        os.close(descriptor)
    with service.database.read() as session:
        assert catalog.find_version(session, "slow").version == 1


def _states(service: Service, owner: str) -> list[str]:
    with service.database.read() as session:
        return list(session.scalars(select(Submission.state).join(User).where(User.name == owner)))


def test_upload_whose_end_was_not_recorded_is_expired_by_the_running_server(service: Service, wide: Example) -> None:
    token = service.token("cleo", ranked_per_day=1)
    content = npy(wide.scores())
    before = service.log.read_text().count("database.busy")
    with begin_upload(service, token, content, len(content) - 1, kind="ranked"):
        until(lambda: _states(service, "cleo") == [State.UPLOADING], "an upload that uses the quota")
        assert service.submit(token, "wide", content).status_code == 429
        lock = _locked(service.database)
        lock.__enter__()
    until(lambda: service.log.read_text().count("database.busy") > before, "a failed write of the upload's end")
    lock.__exit__(None, None, None)
    until(lambda: service.submit(token, "wide", content).status_code == 202, "a free quota")


def test_recovery_requeues_only_claims_that_no_worker_runs(harness: ServiceHarness, toy: Example) -> None:
    ids = [harness.accept(npy(toy.scores(seed=seed)), f"m{seed}") for seed in (1, 2)]
    with harness.database.write() as session:
        claims = [queue.claim(session), queue.claim(session)]
    recover_lost(harness.database, {claimed.id for claimed in claims[1:] if claimed}, harness.presence)
    assert [harness.state(submission_id) for submission_id in ids] == [State.QUEUED, State.SCORING]
    assert harness.evaluator.evaluate_next()
    assert [harness.state(submission_id) for submission_id in ids] == [State.SCORED, State.SCORING]
    assert not harness.evaluator.evaluate_next()


def test_recovery_expires_only_uploads_without_a_connection(harness: ServiceHarness, toy: Example) -> None:
    ids = [harness.reserve(len(npy(toy.scores())), method) for method in ("lost", "coming")]
    harness.presence.add(ids[1])
    recover_lost(harness.database, set(), harness.presence)
    assert [harness.state(submission_id) for submission_id in ids] == [State.EXPIRED, State.UPLOADING]


class RecoveringSandbox(Sandbox):
    """A sandbox during whose work a recovery runs."""

    harness: ServiceHarness

    def score(self, *arguments: Any) -> dict[str, PartResult]:
        """Run a recovery, then score."""
        recover_lost(self.harness.database, self.harness.evaluator.running.keys(), self.harness.presence)
        return super().score(*arguments)


def test_recovery_does_not_requeue_a_running_evaluation(harness: ServiceHarness, toy: Example) -> None:
    submission_id = harness.accept(npy(toy.scores()))
    recovering = RecoveringSandbox()
    recovering.harness = harness
    harness.evaluator.sandbox = recovering
    assert harness.evaluator.evaluate_next()
    recovering.stop()
    assert harness.state(submission_id) == State.SCORED
    assert harness.evaluator.running == {}

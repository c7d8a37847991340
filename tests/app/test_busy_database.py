"""While somebody writes for long, others are told when to come again; a publication does not; and what was lost is found."""

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
from app.management.recovery import recover_lost
from app.pages import problem_pages as pages
from app.scoring import queue
from app.scoring.sandbox.scorer import Scorer
from app.web import problem_responses
from tests.app.benchmarks import write_benchmark
from tests.app.commands import run_here
from tests.app.service import ROOT, Service, npy, until
from tests.app.test_concurrency import begin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from app.db.sessions import Database
    from app.scoring.sandbox.scorer import Scored
    from tests.app.benchmarks import Example
    from tests.app.harness import Desk


pytestmark = pytest.mark.serial  # the server waits for the database a tenth of a second, and no longer


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, toy: Example, wide: Example) -> Iterator[Service]:
    """A server that waits for the database only shortly."""
    with Service(tmp_path_factory.mktemp("busy"), busy_seconds=0.1) as running:
        running.publish(toy.folder)
        running.publish(wide.folder)
        yield running


@contextmanager
def _in_use(database: Database) -> Iterator[None]:
    with database.write() as session:
        session.connection()
        yield


def test_a_database_in_use_is_told_with_a_time_to_try_again(service: Service, toy: Example) -> None:
    token = service.token("ann", ranked_per_day=1)
    rows = service.rows()
    with _in_use(service.database):
        refused = service.submit(token, "toy", npy(toy.scores()))
        assert service.client.get("/benchmarks").status_code == 200
    assert (refused.status_code, refused.json()["code"]) == (503, "internal.busy")
    assert refused.headers["Retry-After"] == "5"
    assert service.rows() == rows
    assert service.submit(token, "toy", npy(toy.scores())).status_code == 202


def test_no_connection_left_is_told_the_same() -> None:
    app = FastAPI()
    problem_responses.install_problem_handlers(app)
    pages.install(app)
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


def test_a_publication_copies_its_arrays_while_others_write(service: Service, toy: Example, tmp_path: Path) -> None:
    folder = write_benchmark(tmp_path, "slow").folder
    writer, reader = os.openpty()
    # A file that is copied for as long as nobody ends it.
    (folder / "public" / "endless").symlink_to(os.ttyname(reader))
    copy = service.settings.benchmarks_dir / "slow" / "1.partial" / "public" / "endless"
    command = [sys.executable, "-m", "app", "benchmark", "publish", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, env=service.environment, stdout=subprocess.PIPE, text=True) as publishing:
        try:
            until(copy.exists, "a copy under way")
            token = service.token("ben")
            assert service.submit(token, "toy", npy(toy.scores(seed=1))).status_code == 202
            refused = run_here(service, "benchmark", "publish", str(toy.folder))
            assert "got another at work" in refused.stderr
        finally:
            os.write(writer, b"\x04")  # the end of it
        assert publishing.communicate()[0] == "Published slow version 1.\n"
    for descriptor in (writer, reader):
        os.close(descriptor)
    with service.database.read() as session:
        assert catalog.find_version(session, "slow").version == 1


def _states(service: Service, owner: str) -> list[str]:
    with service.database.read() as session:
        return list(session.scalars(select(Submission.state).join(User).where(User.name == owner)))


def test_an_upload_whose_end_could_not_be_written_is_given_up_while_the_server_runs(
    service: Service, wide: Example
) -> None:
    token = service.token("cleo", ranked_per_day=1)
    content = npy(wide.scores())
    before = service.log.read_text().count("database.busy")
    with begin(service, token, content, len(content) - 1, kind="ranked"):
        until(lambda: _states(service, "cleo") == [State.UPLOADING], "an upload that takes the quota")
        assert service.submit(token, "wide", content).status_code == 429
        lock = _in_use(service.database)
        lock.__enter__()
    until(lambda: service.log.read_text().count("database.busy") > before, "an end that could not be written")
    lock.__exit__(None, None, None)
    until(lambda: service.submit(token, "wide", content).status_code == 202, "a quota that is free again")


def test_what_nobody_works_on_is_put_back_and_what_is_worked_on_is_not(desk: Desk, toy: Example) -> None:
    ids = [desk.accept(npy(toy.scores(seed=seed)), f"m{seed}") for seed in (1, 2)]
    with desk.database.write() as session:
        claims = [queue.claim(session), queue.claim(session)]
    recover_lost(desk.database, {claim for claim in claims[1:] if claim}, set())
    assert [desk.state(submission_id) for submission_id in ids] == [State.QUEUED, State.SCORING]
    assert desk.evaluator.work()
    assert [desk.state(submission_id) for submission_id in ids] == [State.SCORED, State.SCORING]
    assert not desk.evaluator.work()


def test_what_does_not_come_any_more_is_given_up_and_what_comes_is_not(desk: Desk, toy: Example) -> None:
    ids = [desk.reserve(len(npy(toy.scores())), method) for method in ("lost", "coming")]
    recover_lost(desk.database, set(), {ids[1]})
    assert [desk.state(submission_id) for submission_id in ids] == [State.EXPIRED, State.UPLOADING]


class Looking(Scorer):
    """Scores, and while it does somebody looks for what nobody works on."""

    desk: Desk

    def score(self, *arguments: Any) -> dict[str, Scored]:
        """Look first."""
        recover_lost(self.desk.database, self.desk.evaluator.running, set())
        return super().score(*arguments)


def test_who_looks_for_lost_work_finds_none_that_is_done(desk: Desk, toy: Example) -> None:
    submission_id = desk.accept(npy(toy.scores()))
    looking = Looking()
    looking.desk = desk
    desk.evaluator._scorer = looking
    assert desk.evaluator.work()
    looking.stop()
    assert desk.state(submission_id) == State.SCORED
    assert desk.evaluator.running == set()

"""Workers in processes of their own: they score, are killed, frozen, stopped, and lose the database; no submission is lost."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from contextlib import closing
from itertools import count
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr
from sqlalchemy import URL, select, text

from app.cli.work import libpq_address
from app.db import presence
from app.db.models import Event, State
from app.management import queue_report
from app.settings import Settings
from ldsboard.core.kernel import choose_route
from tests.app.service import PATIENCE_SECONDS, ROOT, Service, npy, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.postgresql import Cluster

pytestmark = pytest.mark.server

TOKEN = "only-prometheus-knows-these-32-characters"

SEEDS = count(1)
"""Seeds of the score files, which all differ."""


class Scaled:
    """A server that scores nothing itself, and its workers, whose evaluations wait while the gate is closed."""

    def __init__(self, service: Service, folder: Path) -> None:
        self.service = service
        self.gate = folder / "gate"
        self.log = folder / "worker.log"
        self.workers: list[subprocess.Popen[bytes]] = []

    def start_worker(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a worker."""
        command = [sys.executable, "-m", "tests.app.gated_worker", "work", *arguments]
        environment = self.service.environment | {"GATE": str(self.gate)}
        with self.log.open("ab") as log:
            self.workers.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log))
        return self.workers[-1]

    def holder(self, submission_id: str, *others: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        """Wait until a worker, except `others`, has claimed a submission's evaluation, and return the worker."""

        def look() -> subprocess.Popen[bytes] | None:
            taken = {path.name for path in self.gate.parent.glob(f"{submission_id}-*")}
            held = (each for each in self.workers if each not in others and f"{submission_id}-{each.pid}" in taken)
            return next(held, None)

        return until(look, f"a claim of {submission_id}; the log is {self.log}")

    def open_for(self, worker: subprocess.Popen[bytes]) -> None:
        """Open the gate for one worker."""
        (self.gate.parent / str(worker.pid)).touch()

    def assert_scored_once(self, submission_id: str, lds: float) -> None:
        """Wait until a submission is scored, and check its number and that it was scored once."""
        view = self.service.wait_until_final(submission_id)
        assert (view["state"], view["public"]["lds"]) == ("scored", lds), (view, self.log.read_text())
        assert sum(after == State.SCORED for _, after in self.service.events(submission_id)) == 1

    def logged(self) -> str:
        """Return what the server and the workers have logged; each of them can find a lost evaluation."""
        return self.service.log.read_text() + self.log.read_text()

    def close(self) -> None:
        """Kill the workers."""
        for worker in self.workers:
            worker.kill()
            worker.wait()


@pytest.fixture(scope="module")
def served(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory, toy: Example) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("scaled")
    settings = {"scoring_processes": 0, "metrics_token": SecretStr(TOKEN)}
    with Service(folder, database_url=cluster.create(), **settings) as service:
        service.publish(toy.folder)
        yield service


@pytest.fixture
def scaled(served: Service, tmp_path: Path) -> Iterator[Scaled]:
    opened = Scaled(served, tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def send(scaled: Scaled, toy: Example) -> Callable[[float], tuple[str, float]]:
    """A function that sends scores with some noise, and returns the submission's id and its LDS on the public subsets."""
    token = scaled.service.token("ada", ranked_per_day=1000, ranked_per_version=1000)

    def sent(noise: float) -> tuple[str, float]:
        scores = toy.scores(noise, seed=next(SEEDS))
        answer = scaled.service.submit(token, "toy", npy(scores), method=f"m{noise}")
        assert answer.status_code == 202, answer.text
        return answer.json()["id"], toy.offline(scores)["public"].lds

    return sent


def test_two_workers_score_what_the_server_accepts(scaled: Scaled, send: Callable[[float], tuple[str, float]]) -> None:
    early = send(0.1)  # before there is a worker
    route = f"Scores are added with {choose_route()}.\n"
    assert route not in scaled.service.log.read_text()
    for _ in range(2):
        scaled.start_worker("--concurrency", "2")
    sent = [early, *(send(noise / 10) for noise in range(2, 8))]
    for submission_id, lds in sent:
        scaled.assert_scored_once(submission_id, lds)
    until(lambda: _listed(scaled) >= {submission_id for submission_id, _ in sent}, "all submissions on the board")
    until(lambda: _tickets(scaled) == 0, "no tickets that are left")
    assert scaled.log.read_text().count(route) == len(scaled.workers)


def test_server_knows_how_many_workers_run(scaled: Scaled, monkeypatch: pytest.MonkeyPatch) -> None:
    def connected() -> int:
        with scaled.service.database.read() as session:
            return presence.count_workers(session)

    monkeypatch.setattr(presence, "SILENT_SECONDS", 2.0)
    assert connected() == 0
    first, _ = scaled.start_worker(), scaled.start_worker()
    until(lambda: connected() == 2, "two workers")
    first.send_signal(signal.SIGSTOP)
    until(lambda: connected() == 1, "a frozen worker")
    first.send_signal(signal.SIGCONT)
    until(lambda: connected() == 2, "a thawed worker")
    first.kill()
    until(lambda: connected() == 1, "one worker")
    answer = scaled.service.client.get(f"{scaled.service.url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert "\nldsboard_connected_workers 1.0\n" in answer.text


def test_killed_server_leaves_its_submission_to_the_workers(
    scaled: Scaled, send: Callable[[float], tuple[str, float]]
) -> None:
    submission_id, _ = send(0.3)
    scaled.service.process.kill()
    scaled.service.process.wait()
    scaled.start_worker()
    until(lambda: scaled.service.row(submission_id).state == State.SCORED, "a scored submission")
    scaled.service.start()


def test_evaluation_of_a_killed_worker_is_given_to_another(
    scaled: Scaled, send: Callable[[float], tuple[str, float]]
) -> None:
    scaled.gate.touch()
    submission_id, lds = send(0.2)
    first = scaled.start_worker()
    scaled.holder(submission_id)
    first.kill()
    second = scaled.start_worker()
    scaled.holder(submission_id, first)
    scaled.gate.unlink()
    scaled.assert_scored_once(submission_id, lds)
    assert "requeued: its worker has ended" in _details(scaled, submission_id)
    with scaled.service.database.read() as session:
        (lost,) = queue_report.lost(session)
    ended = [f"{socket.gethostname()[:30]}/{worker.pid}" for worker in (first, second)]
    assert (lost.named.submission_id, lost.named.kind, lost.state) == (submission_id, "ranked", "scored")
    assert (lost.worker, lost.by) == tuple(ended)
    (line,) = [
        line for line in scaled.logged().splitlines() if "event=evaluation.lost" in line and submission_id in line
    ]
    assert f" worker={ended[0]} " in line
    assert line.endswith(" losses=1")


def test_thawed_worker_saves_nothing_while_another_scores(
    scaled: Scaled, send: Callable[[float], tuple[str, float]]
) -> None:
    scaled.gate.touch()
    submission_id, lds = send(0.2)
    first = scaled.start_worker()
    scaled.holder(submission_id)
    first.send_signal(signal.SIGSTOP)
    second = scaled.start_worker()
    scaled.holder(submission_id, first)
    first.send_signal(signal.SIGCONT)
    scaled.open_for(first)
    # Once the first worker has scored another file, its late result for the first file has been refused.
    scaled.assert_scored_once(*send(0.4))
    assert scaled.service.row(submission_id).state == State.SCORING
    scaled.open_for(second)
    scaled.assert_scored_once(submission_id, lds)
    until(lambda: "event=ticket.gone" in scaled.log.read_text(), "a line about the ticket that is gone")
    lines = [line for line in scaled.logged().splitlines() if submission_id in line]
    events = {
        event: [line.rpartition("/")[2] for line in lines if f"event={event} " in line]
        for event in ("evaluation.started", "evaluation.lost", "evaluation.refused", "submission.scored")
    }
    assert [event_lines[0].startswith(str(first.pid)) for event_lines in list(events.values())[:3]] == [True] * 3
    assert [len(event_lines) for event_lines in events.values()] == [2, 1, 1, 1]
    assert "never retrieved" not in scaled.log.read_text()


def test_stopped_worker_gives_its_evaluation_back(scaled: Scaled, send: Callable[[float], tuple[str, float]]) -> None:
    scaled.gate.touch()
    submission_id, lds = send(0.2)
    first = scaled.start_worker()
    scaled.holder(submission_id)
    first.terminate()
    until(lambda: scaled.service.row(submission_id).state == State.QUEUED, "a queued submission")
    assert "requeued: its worker was stopped" in _details(scaled, submission_id)
    scaled.gate.unlink()
    assert first.wait(PATIENCE_SECONDS) == 0
    scaled.start_worker()
    scaled.assert_scored_once(submission_id, lds)


def test_worker_survives_the_loss_of_its_connections(
    scaled: Scaled, send: Callable[[float], tuple[str, float]]
) -> None:
    worker = scaled.start_worker()
    scaled.assert_scored_once(*send(0.1))
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    others += " AND pid <> pg_backend_pid()"
    with psycopg.connect(scaled.service.settings.database_url, autocommit=True) as connection:
        assert connection.execute(others).rowcount > 3
    scaled.assert_scored_once(*send(0.2))
    assert worker.poll() is None


@pytest.mark.parametrize("password", ["p@s:s/%w#?&x", "two words", "quote'd", "back\\slash", "ö"])
def test_every_password_reaches_the_database(password: str) -> None:
    url = URL.create("postgresql", "ldsboard", password, "db.example.org", 5433, "lds", {"sslmode": "require"})
    settings = Settings(database_url=url.render_as_string(hide_password=False), scoring_processes=0)
    expected = {"user": "ldsboard", "password": password, "host": "db.example.org", "port": "5433", "dbname": "lds"}
    assert conninfo_to_dict(libpq_address(settings)) == expected | {"sslmode": "require"}


def test_worker_needs_its_setting(scaled: Scaled) -> None:
    environment = scaled.service.environment | {"LDSBOARD_SCORING_PROCESSES": "1"}
    done = scaled.service.run("work", environment=environment)
    assert done.returncode == 2
    assert done.stderr.count("Error: ") == 1
    assert "LDSBOARD_SCORING_PROCESSES=0" in done.stderr


def test_worker_with_another_data_folder_is_refused(
    scaled: Scaled, tmp_path: Path, cluster: Cluster, toy: Example
) -> None:
    with closing(Service(tmp_path / "alone", database_url=cluster.create(), scoring_processes=0)) as stopped:
        stopped.publish(toy.folder)
        for service, hint in (
            (scaled.service, "Set LDSBOARD_DATA_DIR to theirs."),
            (stopped, "Set LDSBOARD_DATA_DIR to the data folder that the servers use"),  # no server runs
        ):
            done = service.run("work", environment=service.environment | {"LDSBOARD_DATA_DIR": str(tmp_path)})
            assert done.returncode == 2
            assert done.stderr.count("Error: ") == 1
            assert hint in done.stderr


def _listed(scaled: Scaled) -> set[str]:
    rows = scaled.service.client.get("/benchmarks/toy/leaderboard").json()["rows"]
    return {row["id"] for row in rows}


def _tickets(scaled: Scaled) -> int:
    with scaled.service.database.read() as session:
        found = session.scalar(text("SELECT count(*) FROM procrastinate_jobs WHERE queue_name <> 'recovery'"))
        return int(found or 0)


def _details(scaled: Scaled, submission_id: str) -> list[str | None]:
    with scaled.service.database.read() as session:
        return list(session.scalars(select(Event.detail).where(Event.submission_id == submission_id)))

"""Two servers on one PostgreSQL database and one data folder: what one does holds for the other, and one of them leads."""

from __future__ import annotations

import json
import socket
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, NamedTuple

import httpx
import pytest
from itsdangerous import TimestampSigner
from sqlalchemy import select, text

from app import data_lock
from app.accounts import users
from app.accounts.quotas import Quotas
from app.benchmarks import catalog
from app.db.accounts import User
from app.db.models import Kind, State, Submission
from app.db.presence import LEADER, Presence, Use
from app.db.sessions import Database
from app.errors import OtherFolderError
from app.submissions import lifecycle
from app.submissions.fields import SubmissionRequest
from app.web.sessions import COOKIE, KEY_FILE
from tests.app.benchmarks import write_benchmark
from tests.app.commands import run_in_process
from tests.app.service import PATIENCE_SECONDS, Service, npy, read_response, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.postgresql import Cluster

pytestmark = pytest.mark.server


class Replicas(NamedTuple):
    """Two servers; the first was started first, and leads."""

    first: Service
    second: Service


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Example:
    """A benchmark whose score files are longer than the first bytes that the server reads before it reserves a submission."""
    return write_benchmark(tmp_path_factory.mktemp("large"), "large", n=1200, N=16, noise=20)


@pytest.fixture(scope="module")
def replicas(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory, toy: Example, large: Example
) -> Iterator[Replicas]:
    folders = [tmp_path_factory.mktemp(name) for name in ("first", "second")]
    shared = {"database_url": cluster.create(), "scoring_processes": 0, "data_dir": folders[0] / "data"}
    with Service(folders[0], **shared) as first, Service(folders[1], **shared) as second:
        first.publish(toy.folder)
        first.publish(large.folder)
        yield Replicas(first, second)


@contextmanager
def _arriving(replica: Service, large: Example, method: str) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Begin a single upload; yield the submission's id, and a function that sends the last byte and returns the answer."""
    content = npy(large.scores())
    head = (
        f"PUT /api/v1/benchmarks/large/submissions?method={method} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    )
    head += f"Authorization: Bearer {replica.token(method)}\r\nContent-Length: {len(content)}\r\n\r\n"
    with socket.create_connection(("localhost", replica.port), PATIENCE_SECONDS) as connection:
        connection.sendall(head.encode() + content[:-1])

        def look() -> str | None:
            with replica.database.read() as session:
                return session.scalar(select(Submission.id).where(Submission.method == method))

        def finish() -> bytes:
            connection.sendall(content[-1:])
            return read_response(connection)

        yield until(look, "a reserved submission"), finish


def test_quota_holds_for_both_together(replicas: Replicas, toy: Example) -> None:
    token = replicas.first.token("quota", ranked_per_day=3, ranked_per_version=100)

    def send(number: int) -> int:
        content = npy(toy.scores(seed=number))
        return replicas[number % 2].submit(token, "toy", content, method=f"m{number}").status_code

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(send, range(8)))
    assert sorted(answers) == [202] * 3 + [429] * 5


def test_idempotency_key_holds_for_both_together(replicas: Replicas, toy: Example) -> None:
    token = replicas.first.token("keys")
    content = npy(toy.scores(seed=50))

    def send(number: int) -> str:
        answer = replicas[number % 2].submit(token, "toy", content, key="once")
        return str(answer.json().get("id"))

    with ThreadPoolExecutor(4) as threads:
        answers = set(threads.map(send, range(4)))
    again = [replica.submit(token, "toy", content, key="once").json()["id"] for replica in replicas]
    assert len(set(again)) == 1
    assert again[0] in answers


def test_waiting_request_hears_of_a_change_through_the_other_server(replicas: Replicas, toy: Example) -> None:
    token = replicas.first.token("waiting")
    submission_id = replicas.first.submit(token, "toy", npy(toy.scores(seed=60)), method="wait").json()["id"]
    headers = {"Authorization": f"Bearer {token}"}

    def wait() -> str:
        shown = replicas.second.client.get(f"/submissions/{submission_id}", params={"wait": 25}, headers=headers)
        return str(shown.json()["state"])

    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(wait)
        assert replicas.first.client.delete(f"/submissions/{submission_id}", headers=headers).is_success
        assert waiting.result() == "withdrawn"


@pytest.mark.parametrize("place", [0, 1])
def test_upload_that_arrives_at_one_server_is_not_expired(replicas: Replicas, large: Example, place: int) -> None:
    with _arriving(replicas[place], large, f"slow-{place}") as (submission_id, finish):
        # The leader expires uploads that arrive nowhere: once it has expired this one, it has seen the other, too.
        with replicas.first.database.write() as session:
            version = catalog.find_version(session, "large")
            user = users.add_user(session, f"gone-{place}").id
            request = SubmissionRequest(benchmark="large", method="gone", kind=Kind.RANKED, title="Gone", size=9)
            gone = lifecycle.reserve(session, user, version, request, Quotas(50, 300)).id
        until(lambda: replicas.first.row(gone).state == State.EXPIRED, "an expired upload")
        assert replicas.first.row(submission_id).state == State.UPLOADING
        assert finish().startswith(b"HTTP/1.1 202")
    assert replicas.first.row(submission_id).state == State.QUEUED


def test_server_that_needs_the_database_for_itself_is_refused(replicas: Replicas, tmp_path: Path) -> None:
    alone = replicas.first.environment | {"LDSBOARD_SCORING_PROCESSES": "1"}
    for environment, reason in (
        (alone, "uses the data folder {}. Stop all servers and workers that use it.\n"),
        (alone | {"LDSBOARD_DATA_DIR": str(tmp_path)}, "with another data folder"),
    ):
        done = replicas.first.run("serve", "--port", "0", environment=environment)
        expected = reason.format(replicas.first.settings.data_dir)
        assert (done.returncode, expected in done.stderr) == (2, True), done.stderr


def test_process_with_another_data_folder_is_refused(replicas: Replicas, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    made = run_in_process(replicas.first, "backup", str(backup))
    assert made.exit_code == 0, made.stderr
    # A server of a restored backup, whose operator has left the settings of the live one as they are.
    restored = replicas.first.environment | {"LDSBOARD_DATA_DIR": str(backup)}
    for command in (
        ["serve", "--port", "0"],
        ["work"],
        ["doctor"],
        ["doctor", "--repair"],
        ["migrate"],
        ["user", "add", "x"],
    ):
        done = replicas.first.run(*command, environment=restored)
        reason = "use the database in LDSBOARD_DATABASE_URL with another data folder"
        assert (done.returncode, reason in done.stderr) == (2, True), done.stderr
    del restored["LDSBOARD_DATABASE_URL"]
    checked = replicas.first.run("doctor", environment=restored)
    assert checked.returncode == 0, checked.stdout
    assert checked.stderr.splitlines() == [
        f"Database: {backup}/ldsboard.sqlite3",
        f"Data folder: {backup}",
        f"Score files: {backup}/files",
    ]
    # The copy has no number of its own before its first server.
    with closing(Database(replicas.first.settings.resolved_database_url)) as database:
        for use in (Use.SERVER, Use.WORKER):
            with pytest.raises(OtherFolderError):
                Presence(database, use, data_lock.folder_id(backup, create=True))
            Presence(database, use, data_lock.folder_id(replicas.first.settings.data_dir, create=False)).close()


def test_signing_out_at_one_server_holds_at_the_other(replicas: Replicas) -> None:
    with replicas.first.database.write() as session:
        user = users.add_user(session, "signed-in")
        generation = user.session_generation
    key = (replicas.first.settings.data_dir / KEY_FILE).read_text()
    cookie = TimestampSigner(key).sign(
        b64encode(json.dumps({"user": user.id, "generation": generation, "form": "x"}).encode())
    )
    pages = [
        httpx.get(f"{replica.url}/account", cookies={COOKIE: cookie.decode()}, trust_env=False) for replica in replicas
    ]
    assert [page.status_code for page in pages] == [200, 200]
    with replicas.first.database.write() as session:
        session.get_one(User, user.id).session_generation += 1
    pages = [
        httpx.get(f"{replica.url}/account", cookies={COOKIE: cookie.decode()}, trust_env=False) for replica in replicas
    ]
    assert "signed-in" not in pages[0].text + pages[1].text


def test_another_server_leads_once_the_first_is_killed(replicas: Replicas, large: Example) -> None:
    with closing(Presence(replicas.first.database, Use.SERVER)) as third:
        assert not third.leads()
    with _arriving(replicas.first, large, "lost") as (submission_id, _):
        replicas.first.process.kill()
        replicas.first.process.wait()
        until(lambda: replicas.second.row(submission_id).state == State.EXPIRED, "an expired submission")
    replicas.first.start()
    with closing(Presence(replicas.first.database, Use.SERVER)) as third:
        assert not third.leads()


def test_leader_that_loses_its_connection_leads_again(replicas: Replicas, large: Example) -> None:
    here = "WHERE locktype = 'advisory' AND objid = :key AND granted AND database = (SELECT oid FROM pg_database "
    here += "WHERE datname = current_database())"
    end, held = (text(f"SELECT {what} FROM pg_locks {here}") for what in ("pg_terminate_backend(pid)", "pid"))  # noqa: S608
    with _arriving(replicas.second, large, "kept") as (submission_id, finish):
        with replicas.first.database.read() as session:
            assert len(session.execute(end, {"key": LEADER}).all()) == 1
            until(lambda: session.execute(held, {"key": LEADER}).all(), "another leader")
        assert finish().startswith(b"HTTP/1.1 202")
    assert replicas.first.row(submission_id).state == State.QUEUED

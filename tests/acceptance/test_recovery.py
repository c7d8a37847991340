"""No accepted submission is lost when the server or its fork server is killed."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from app.scoring.queue import MAX_FAILURES
from tests.app.processes import fork_server
from tests.app.service import Service, npy, until
from tests.processes import alive, stop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.app.benchmarks import Example


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, toy: Example) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("service"), ranked_per_day=1, retry_seconds=0) as running:
        running.publish(toy.folder)
        yield running


def _submit_with_stopped_fork_server(service: Service, toy: Example, token: str, fork_server_pid: int) -> str:
    """Stop the fork server with SIGSTOP, submit a file, and return its submission id once it is claimed."""
    stop(fork_server_pid)
    response = service.submit(token, "toy", npy(toy.scores()))
    submission_id: str = response.json()["id"]
    until(lambda: service.row(submission_id).state == "scoring", "a claimed submission")
    return submission_id


def test_restarted_server_requeues_submission_of_killed_server(service: Service, toy: Example) -> None:
    fork_server_pid = fork_server(service.process.pid)
    submission_id = _submit_with_stopped_fork_server(service, toy, service.token("ann"), fork_server_pid)
    assert service.stop(signal.SIGKILL) == -signal.SIGKILL
    until(lambda: not alive(fork_server_pid), "the fork server to end")
    assert service.row(submission_id).state == "scoring"
    orphan = service.settings.storage_dir / "ab" / ("ab" * 32)
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"a file whose submission was never written")

    service.start()
    assert not orphan.exists()
    view = service.wait_until_final(submission_id)
    assert view["state"] == "scored"
    offline = toy.offline(toy.scores())
    assert view["public"]["lds"] == offline["public"].lds
    assert service.measurements(submission_id)["ranking"].lds == offline["ranking"].lds
    assert service.events(submission_id) == [
        (None, "uploading"),
        ("uploading", "queued"),
        ("queued", "scoring"),
        ("scoring", "queued"),
        ("queued", "scoring"),
        ("scoring", "scored"),
    ]


def test_server_replaces_killed_fork_server_and_scores_its_file(service: Service, toy: Example) -> None:
    fork_server_pid = fork_server(service.process.pid)
    submission_id = _submit_with_stopped_fork_server(service, toy, service.token("ben"), fork_server_pid)
    os.kill(fork_server_pid, signal.SIGKILL)
    assert service.wait_until_final(submission_id)["state"] == "scored"
    assert fork_server(service.process.pid) != fork_server_pid
    assert service.failure_count(submission_id) <= 1  # 0 if the fork server was killed before it received the request


def test_submission_that_always_fails_ends_as_failed_and_costs_no_quota(service: Service, toy: Example) -> None:
    token = service.token("cleo")
    fork_server_pid = fork_server(service.process.pid)
    submission_id = _submit_with_stopped_fork_server(service, toy, token, fork_server_pid)
    # Every scoring process fails, because the file is missing.
    stored = service.settings.storage_dir.glob(f"*/{service.row(submission_id).file_sha256}")
    next(stored).unlink()
    os.kill(fork_server_pid, signal.SIGCONT)

    view = service.wait_until_final(submission_id)
    assert view["state"] == "failed"
    assert view["error"]["code"] == "internal.failed"
    assert view["error"]["status"] == 500
    assert service.failure_count(submission_id) == MAX_FAILURES
    assert [after for _, after in service.events(submission_id)].count("scoring") == MAX_FAILURES
    assert service.submit_and_score(token, "toy", npy(toy.scores()))["attempts"] == 1


def test_server_shutdown_does_not_wait_for_stuck_file(service: Service, toy: Example) -> None:
    fork_server_pid = fork_server(service.process.pid)
    submission_id = _submit_with_stopped_fork_server(service, toy, service.token("dora"), fork_server_pid)
    service.stop(signal.SIGINT)
    until(lambda: not alive(fork_server_pid), "the fork server to end")
    service.start()
    assert service.wait_until_final(submission_id)["state"] == "scored"
    assert service.failure_count(submission_id) == 0

"""Nothing that was accepted is lost, whichever process is killed."""

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


def _being_scored(service: Service, toy: Example, token: str, warm: int) -> str:
    """Stop the fork server, and send a file for which it will fork no scoring process."""
    stop(warm)
    response = service.submit(token, "toy", npy(toy.scores()))
    submission_id: str = response.json()["id"]
    until(lambda: service.row(submission_id).state == "scoring", "a submission that is being scored")
    return submission_id


def test_a_killed_server_takes_its_fork_server_with_it_and_takes_up_the_work_when_started_again(
    service: Service, toy: Example
) -> None:
    warm = fork_server(service.process.pid)
    submission_id = _being_scored(service, toy, service.token("ann"), warm)
    assert service.stop(signal.SIGKILL) == -signal.SIGKILL
    until(lambda: not alive(warm), "the end of the fork server")
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


def test_a_killed_fork_server_is_replaced_and_its_file_scored(service: Service, toy: Example) -> None:
    warm = fork_server(service.process.pid)
    submission_id = _being_scored(service, toy, service.token("ben"), warm)
    os.kill(warm, signal.SIGKILL)
    assert service.wait_until_final(submission_id)["state"] == "scored"
    assert fork_server(service.process.pid) != warm
    assert service.failure_count(submission_id) <= 1  # none if it was killed before it was asked


def test_what_always_fails_is_given_up_and_costs_no_quota(service: Service, toy: Example) -> None:
    token = service.token("cleo")
    warm = fork_server(service.process.pid)
    submission_id = _being_scored(service, toy, token, warm)
    # No scoring process can survive this: the bytes are gone.
    stored = service.settings.storage_dir.glob(f"*/{service.row(submission_id).file_sha256}")
    next(stored).unlink()
    os.kill(warm, signal.SIGCONT)

    view = service.wait_until_final(submission_id)
    assert view["state"] == "failed"
    assert view["error"]["code"] == "internal.failed"
    assert view["error"]["status"] == 500
    assert service.failure_count(submission_id) == MAX_FAILURES
    assert [after for _, after in service.events(submission_id)].count("scoring") == MAX_FAILURES
    assert service.submit_and_score(token, "toy", npy(toy.scores()))["attempts"] == 1


def test_a_server_asked_to_end_does_not_wait_for_a_stuck_file(service: Service, toy: Example) -> None:
    warm = fork_server(service.process.pid)
    submission_id = _being_scored(service, toy, service.token("dora"), warm)
    service.stop(signal.SIGINT)
    until(lambda: not alive(warm), "the end of the fork server")
    service.start()
    assert service.wait_until_final(submission_id)["state"] == "scored"
    assert service.failure_count(submission_id) == 0

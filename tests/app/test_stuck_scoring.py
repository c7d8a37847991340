"""A server whose fork server or scoring process is stopped: it says so, replaces the process, and scores the file."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from app.results.submission_views import RESTARTING
from tests.app.processes import fork_server
from tests.app.sandbox.processes import open_for_writing, replace_by_pipe
from tests.app.service import Service, npy, until
from tests.processes import alive, children, stop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

    from tests.app.benchmarks import Example

pytestmark = [pytest.mark.server, pytest.mark.slow]


@pytest.fixture(scope="module")
def own_service(tmp_path_factory: pytest.TempPathFactory, toy: Example) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("service"), retry_seconds=0) as running:
        running.publish(toy.folder)
        yield running


def _get(service: Service, path: str) -> httpx.Response:
    return service.client.get(f"{service.url}{path}")


def _submit_while_stopped(service: Service, token: str, content: bytes, fork_server_pid: int) -> dict[str, Any]:
    """Stop the fork server, submit a file, and return the submission once it is claimed."""
    stop(fork_server_pid)
    sent = service.submit(token, "toy", content)
    until(lambda: service.row(sent.json()["id"]).state == "scoring", "a claimed submission")
    view: dict[str, Any] = _get(service, sent.json()["links"]["self"]).json()
    assert (view["state"], view["notice"]) == ("scoring", None)
    return view


def _check_messages(service: Service, view: dict[str, Any]) -> None:
    """Check, while a process is silent, what the health check, the API and the pages of a waiting submission say."""
    page, own = view["links"]["page"], view["links"]["self"]
    assert RESTARTING not in _get(service, page).text
    until(lambda: _get(service, "/readyz").status_code == 503, "a server that is not ready")
    # All requests of one round belong together only if the server is still not ready after them.
    unready = _get(service, "/readyz").json()
    shown, seen = _get(service, page), _get(service, f"{page}/state?seen=scoring")
    again, delayed = _get(service, f"{page}/state?seen=scoring-delayed"), _get(service, own).json()
    assert _get(service, "/readyz").status_code == 503
    assert unready["code"] == "internal.unready"
    assert unready["detail"].startswith("No file can be scored")
    assert RESTARTING in shown.text
    assert (seen.status_code, RESTARTING in seen.text, again.status_code) == (200, True, 204)
    assert delayed["notice"] == RESTARTING


def _check_recovery(service: Service, view: dict[str, Any]) -> None:
    """Check that the file is scored, that nothing is reported as delayed, and that the failure did not count as an attempt."""
    scored = service.wait_until_final(view["id"])
    assert (scored["state"], scored["notice"], scored["attempts"]) == ("scored", None, 1)
    until(lambda: _get(service, "/readyz").status_code == 200, "a ready server")
    assert RESTARTING not in _get(service, view["links"]["page"]).text


def test_stopped_fork_server_is_reported_and_replaced(own_service: Service, toy: Example) -> None:
    stopped, before = fork_server(own_service.process.pid), own_service.log.read_text()
    view = _submit_while_stopped(own_service, own_service.token("ann"), npy(toy.scores()), stopped)
    _check_messages(own_service, view)
    _check_recovery(own_service, view)
    assert not alive(stopped)
    log = own_service.log.read_text().removeprefix(before)
    assert log.count("fork_server.silent") == 1
    assert log.count("submission.failed") == own_service.failure_count(view["id"]) == 1


def test_stopped_scoring_process_is_reported_and_replaced(own_service: Service, toy: Example) -> None:
    server_pid = fork_server(own_service.process.pid)
    before = own_service.log.read_text().count("sent no heartbeats and was killed")
    view = _submit_while_stopped(own_service, own_service.token("ben"), npy(toy.scores(seed=5)), server_pid)
    file = _stored_file(own_service, view)
    aside = replace_by_pipe(file)  # the scoring process waits for the content of the pipe
    os.kill(server_pid, signal.SIGCONT)
    end = until(lambda: open_for_writing(file), "a scoring process that reads")
    (scoring_pid,) = children(server_pid)
    stop(scoring_pid)
    aside.replace(file)
    _check_messages(own_service, view)
    _check_recovery(own_service, view)
    os.close(end)
    assert not alive(scoring_pid)
    assert fork_server(own_service.process.pid) == server_pid
    assert own_service.log.read_text().count("SandboxError: The scoring process sent no heartbeats") == before + 1
    assert own_service.failure_count(view["id"]) == 1


def _stored_file(service: Service, view: dict[str, Any]) -> Path:
    sha256 = service.row(view["id"]).file_sha256
    (file,) = service.settings.storage_dir.rglob(str(sha256))
    return file

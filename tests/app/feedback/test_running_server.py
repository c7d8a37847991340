"""Webhooks of a running server: the receiver of the guide, a killed server, and a deleted account."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.app.feedback.hooks import calls, make_due
from tests.app.feedback.receiver import Receiver
from tests.app.ports import reserved_port
from tests.app.service import PATIENCE_SECONDS, ROOT, Service, npy, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.app.benchmarks import Example

GUIDE = (ROOT / "docs/how-to/follow-a-method.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def calling_service(tmp_path_factory: pytest.TempPathFactory, toy: Example) -> Iterator[Service]:
    """A server whose webhooks may call this machine."""
    with Service(tmp_path_factory.mktemp("calling"), webhook_hosts="localhost") as running:
        running.publish(toy.folder)
        yield running


@pytest.fixture
def held_port() -> Iterator[int]:
    with reserved_port() as port:
        yield port


pytestmark = pytest.mark.server


def _register(service: Service, token: str, url: str) -> str:
    """Register a webhook and return its secret."""
    headers = {"Authorization": f"Bearer {token}"}
    created = service.client.post("/webhooks", json={"url": url}, headers=headers)
    assert created.status_code == 201, created.text
    return str(created.json()["secret"])


@contextmanager
def _guide_receiver(folder: Path, secret: str, port: int) -> Iterator[subprocess.Popen[str]]:
    """Run the receiver of the guide in a process; it has printed its port."""
    (script,) = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
    (folder / "receiver.py").write_text(script, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, "receiver.py", str(port)],
        cwd=folder,
        env=os.environ | {"WEBHOOK_SECRET": secret},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def _errors(process: subprocess.Popen[str]) -> list[str]:
    """End a receiver, and return the lines that it has written to its standard error."""
    assert process.stderr is not None
    process.kill()
    return process.stderr.read().splitlines()


@pytest.mark.slow
def test_receiver_of_the_guide_prints_the_results(
    calling_service: Service, toy: Example, tmp_path: Path, held_port: int
) -> None:
    token, port = calling_service.token("reader"), held_port
    secret = _register(calling_service, token, f"http://localhost:{port}/ldsboard")
    with _guide_receiver(tmp_path, secret, port) as process:
        assert _first_line(process) == f"listening on {port}"
        sent = calling_service.submit_and_score(token, "toy", npy(toy.scores()), method="told")
        kind, page, lds = _first_line(process).split(" ")
        assert (kind, lds) == ("submission.scored", str(sent["hidden"]["lds"]))
        assert page.endswith(f"/submissions/{sent['id']}")
        until(lambda: calls(calling_service.database, "reader")[0].ended_at, "a delivered call")
        assert _errors(process) == []
    assert calls(calling_service.database, "reader")[0].status == 204


def test_receiver_of_the_guide_refuses_a_wrong_signature(
    calling_service: Service, toy: Example, tmp_path: Path, held_port: int
) -> None:
    token, port = calling_service.token("doubter"), held_port
    with _guide_receiver(tmp_path, "whsec_QUJD", port) as process:
        assert _first_line(process) == f"listening on {port}"
        _register(calling_service, token, f"http://localhost:{port}/")
        calling_service.submit_and_score(token, "toy", npy(toy.scores(0.7)), method="doubted")
        call = until(
            lambda: next((c for c in calls(calling_service.database, "doubter") if c.error), None), "an answer"
        )
        assert (call.status, call.state) == (401, "waiting")
        assert ["code 401" in line for line in _errors(process)] == [True]


def test_call_survives_a_killed_server(calling_service: Service, toy: Example) -> None:
    token = calling_service.token("patient")
    with Receiver() as receiver:
        _register(calling_service, token, receiver.url)
        receiver.answer = lambda _: receiver.released.wait(PATIENCE_SECONDS)
        calling_service.submit_and_score(token, "toy", npy(toy.scores(0.8)), method="kept")
        until(lambda: receiver.received, "a call that runs")
        calling_service.stop(signal.SIGKILL)
        (call,) = calls(calling_service.database, "patient")
        assert (call.state, call.attempts, call.ended_at) == ("waiting", 1, None)
        receiver.answer = None
        make_due(calling_service.database)
        calling_service.start()
        until(lambda: calls(calling_service.database, "patient")[0].ended_at, "a delivered call")
        assert [request.headers["Webhook-Id"] for request in receiver.received] == [call.id, call.id]


def test_server_stops_while_a_call_runs_and_repeats_it(calling_service: Service, toy: Example) -> None:
    token = calling_service.token("leaving")
    with Receiver() as receiver:
        _register(calling_service, token, receiver.url)
        receiver.answer = lambda _: receiver.released.wait(PATIENCE_SECONDS)
        calling_service.submit_and_score(token, "toy", npy(toy.scores(0.9)), method="left")
        until(lambda: receiver.received, "a call that runs")
        assert calling_service.stop() == 0
        assert calls(calling_service.database, "leaving")[0].state == "waiting"
        calling_service.start()


def test_deleted_account_is_never_called_again(calling_service: Service, toy: Example) -> None:
    token, before = calling_service.token("gone"), calling_service.rows()
    with Receiver() as receiver:
        receiver.statuses = [500]
        _register(calling_service, token, receiver.url)
        calling_service.submit_and_score(token, "toy", npy(toy.scores(1.1)), method="gone")
        until(lambda: calls(calling_service.database, "gone")[0].error, "a failed attempt")
        headers = {"Authorization": f"Bearer {token}"}
        exported = calling_service.client.get("/users/me/export", headers=headers).json()
        (webhook,), ((call,),) = exported["webhooks"], [row["webhook_calls"] for row in exported["submissions"]]
        assert (webhook["url"], call["webhook_id"], call["status"]) == (receiver.url, webhook["id"], 500)
        assert "secret" not in webhook
        done = calling_service.client.delete("/users/me", params={"confirm": "gone"}, headers=headers)
        assert done.status_code == 204
    after = calling_service.rows()
    assert (after["webhook"], after["webhook_call"]) == (before["webhook"], before["webhook_call"])

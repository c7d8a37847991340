"""Many uploads at once, uploads that stall, and a second server on the same data."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.app.sending import Sending
from tests.app.service import PATIENCE_SECONDS, Service, npy, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.app.benchmarks import Example

HANGING = 40
"""More than any pool of connections or threads that requests could share."""


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory, wide: Example) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("busy"), uploads_per_user=HANGING) as running:
        running.publish(wide.folder)
        yield running


@pytest.fixture
def before(busy: Service) -> tuple[int, set[str]]:
    """How many submissions and which files there were."""
    busy.idle()
    return busy.rows()["submission"], busy.files()


def begin(
    service: Service, token: str, content: bytes, sent: int, *, key: str = "", kind: str = "practice"
) -> socket.socket:
    """Send the head and the first bytes of an upload, and no more."""
    connection = socket.create_connection(("localhost", service.port))
    head = f"PUT /api/v1/benchmarks/wide/submissions?method=m&kind={kind} HTTP/1.1\r\nHost: localhost\r\n"
    head += f"Authorization: Bearer {token}\r\nContent-Length: {len(content)}\r\n"
    head += f"Idempotency-Key: {key}\r\n" if key else ""
    connection.sendall(head.encode() + b"\r\n" + content[:sent])
    return connection


def begin_part(service: Service, upload: Sending, sent: int) -> socket.socket:
    """Send the head and the first bytes of a part, and no more."""
    connection = socket.create_connection(("localhost", service.port))
    head = f"PUT {upload.view['parts'][0]['url']} HTTP/1.1\r\nHost: localhost\r\n"
    head += f"Authorization: {upload.capability['Authorization']}\r\nContent-Length: {len(upload.content)}\r\n"
    connection.sendall(head.encode() + b"\r\n" + upload.content[:sent])
    return connection


def test_stalled_uploads_hold_nothing_that_others_need(
    busy: Service, wide: Example, before: tuple[int, set[str]]
) -> None:
    token, (rows, files) = busy.token("ada"), before
    content = npy(wide.scores(seed=1))
    in_parts = Sending(busy, token, "wide", content, kind="practice", method="parts").started()
    with ExitStack() as open_connections:
        for _ in range(HANGING // 2):
            open_connections.enter_context(begin(busy, token, content, len(content) - 1))
            open_connections.enter_context(begin_part(busy, in_parts, len(content) - 1))
        until(lambda: busy.rows()["submission"] == rows + 1 + HANGING // 2, "uploads on their way")
        until(lambda: len(busy.files() - files) == HANGING, f"{HANGING} files arriving")
        answer = httpx.get(f"{busy.url}/api/v1/benchmarks", timeout=PATIENCE_SECONDS, trust_env=False)
        assert answer.status_code == httpx.codes.OK
        assert busy.scored(token, "wide", content, kind="practice")["public"]
    until(lambda: len(busy.files() - files) == 1, "the stalled uploads given up")
    assert busy.row(in_parts.id).state == "uploading"
    in_parts.put_all()
    assert in_parts.complete().is_success


def test_a_repeated_upload_takes_the_place_of_one_that_stalled(
    busy: Service, wide: Example, before: tuple[int, set[str]]
) -> None:
    token, (rows, _) = busy.token("ben", ranked_per_day=1), before
    content = npy(wide.scores(seed=2))
    with begin(busy, token, content, len(content) - 1, key="k", kind="ranked"):
        until(lambda: busy.rows()["submission"] == rows + 1, "the first upload on its way")
        again = busy.submit(token, "wide", content, key="k", method="m", kind="ranked")
        assert again.status_code == httpx.codes.ACCEPTED, again.text
    assert busy.settled(again.json()["id"])["state"] == "scored"
    assert busy.rows()["submission"] == rows + 2


def test_a_second_server_is_refused_and_harms_no_upload_of_the_first(
    busy: Service, wide: Example, before: tuple[int, set[str]]
) -> None:
    token, (rows, _) = busy.token("cleo"), before
    content = npy(wide.scores(seed=3))
    with begin(busy, token, content, len(content) - 1) as connection:
        until(lambda: busy.rows()["submission"] == rows + 1, "an upload on its way")
        for port, words in (
            (busy.port, [f"expected a free port, got 127.0.0.1:{busy.port}", "Choose another"]),
            (0, ["which another server uses"]),  # on a port that is free
        ):
            second = busy.run("serve", "--port", str(port))
            assert second.returncode == 2
            assert [word for word in words if word not in second.stderr] == []
        connection.sendall(content[-1:])
        assert connection.recv(100).startswith(b"HTTP/1.1 202")

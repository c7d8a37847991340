"""Many parallel uploads, stalled uploads, and a second server on the same data folder."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.app.multipart_upload import MultipartUpload
from tests.app.service import PATIENCE_SECONDS, Service, npy, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.app.benchmarks import Example

HANGING = 40
"""Number of stalled uploads, more than any pool of connections or threads that requests share."""


@pytest.fixture(scope="module")
def upload_service(tmp_path_factory: pytest.TempPathFactory, wide: Example) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("busy"), uploads_per_user=HANGING) as running:
        running.publish(wide.folder)
        yield running


@pytest.fixture
def rows_and_files(upload_service: Service) -> tuple[int, set[str]]:
    """The number of submissions and the stored files before a test."""
    upload_service.wait_until_idle()
    return upload_service.rows()["submission"], upload_service.files()


def begin_upload(
    service: Service, token: str, content: bytes, sent: int, *, key: str = "", kind: str = "practice"
) -> socket.socket:
    """Send the head and only the first bytes of a single upload."""
    connection = socket.create_connection(("localhost", service.port))
    head = f"PUT /api/v1/benchmarks/wide/submissions?method=m&kind={kind} HTTP/1.1\r\nHost: localhost\r\n"
    head += f"Authorization: Bearer {token}\r\nContent-Length: {len(content)}\r\n"
    head += f"Idempotency-Key: {key}\r\n" if key else ""
    connection.sendall(head.encode() + b"\r\n" + content[:sent])
    return connection


def begin_part(service: Service, upload: MultipartUpload, sent: int) -> socket.socket:
    """Send the head and only the first bytes of an upload part."""
    connection = socket.create_connection(("localhost", service.port))
    head = f"PUT {upload.view['parts'][0]['url']} HTTP/1.1\r\nHost: localhost\r\n"
    head += f"Authorization: {upload.authorization['Authorization']}\r\nContent-Length: {len(upload.content)}\r\n"
    connection.sendall(head.encode() + b"\r\n" + upload.content[:sent])
    return connection


def test_stalled_uploads_do_not_block_other_requests(
    upload_service: Service, wide: Example, rows_and_files: tuple[int, set[str]]
) -> None:
    token, (rows, files) = upload_service.token("ada"), rows_and_files
    content = npy(wide.scores(seed=1))
    in_parts = MultipartUpload(upload_service, token, "wide", content, kind="practice", method="parts").started()
    with ExitStack() as open_connections:
        for _ in range(HANGING // 2):
            open_connections.enter_context(begin_upload(upload_service, token, content, len(content) - 1))
            open_connections.enter_context(begin_part(upload_service, in_parts, len(content) - 1))
        until(lambda: upload_service.rows()["submission"] == rows + 1 + HANGING // 2, "open uploads")
        until(lambda: len(upload_service.files() - files) == HANGING, f"{HANGING} files arriving")
        answer = httpx.get(f"{upload_service.url}/api/v1/benchmarks", timeout=PATIENCE_SECONDS, trust_env=False)
        assert answer.status_code == httpx.codes.OK
        other = upload_service.token("bob")
        assert upload_service.submit_and_score(other, "wide", content, kind="practice")["public"]
    until(lambda: len(upload_service.files() - files) == 1, "the deletion of the stalled uploads' files")
    assert upload_service.row(in_parts.id).state == "uploading"
    in_parts.put_all_parts()
    assert in_parts.complete().is_success


def test_repeated_upload_with_a_key_replaces_a_stalled_upload(
    upload_service: Service, wide: Example, rows_and_files: tuple[int, set[str]]
) -> None:
    token, (rows, _) = upload_service.token("ben", ranked_per_day=1), rows_and_files
    content = npy(wide.scores(seed=2))
    with begin_upload(upload_service, token, content, len(content) - 1, key="k", kind="ranked"):
        until(lambda: upload_service.rows()["submission"] == rows + 1, "the open first upload")
        again = upload_service.submit(token, "wide", content, key="k", method="m", kind="ranked")
        assert again.status_code == httpx.codes.ACCEPTED, again.text
    assert upload_service.wait_until_final(again.json()["id"])["state"] == "scored"
    assert upload_service.rows()["submission"] == rows + 2


def test_second_server_does_not_start_and_leaves_running_uploads(
    upload_service: Service, wide: Example, rows_and_files: tuple[int, set[str]]
) -> None:
    token, (rows, _) = upload_service.token("cleo"), rows_and_files
    content = npy(wide.scores(seed=3))
    with begin_upload(upload_service, token, content, len(content) - 1) as connection:
        until(lambda: upload_service.rows()["submission"] == rows + 1, "an open upload")
        for port, words in (
            (upload_service.port, [f"Cannot listen on 127.0.0.1:{upload_service.port}", "Choose another"]),
            (0, ["uses the data folder", "Stop all servers", "or set LDSBOARD_DATA_DIR to another"]),  # on a free port
        ):
            second = upload_service.run("serve", "--port", str(port))
            assert second.returncode == 2
            assert [word for word in words if word not in second.stderr] == []
        connection.sendall(content[-1:])
        assert connection.recv(100).startswith(b"HTTP/1.1 202")

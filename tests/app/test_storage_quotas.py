"""Quotas of stored bytes and of open uploads for each user."""

from __future__ import annotations

import gzip
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.app.multipart_upload import MultipartUpload
from tests.app.service import PATIENCE_SECONDS, Service, npy, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.app.benchmarks import Example

FILES, UPLOADS = 3, 4


@pytest.fixture(scope="module")
def contents(wide: Example) -> list[bytes]:
    """Different files of equal size, longer than the first bytes that the server reads before it reserves a submission."""
    return [npy(wide.scores(seed=seed)) for seed in range(8)]


@pytest.fixture(scope="module")
def limited_service(
    tmp_path_factory: pytest.TempPathFactory, wide: Example, contents: list[bytes]
) -> Iterator[Service]:
    """A server on which a user may store three files and have four open uploads."""
    limits = {"bytes_per_user": FILES * len(contents[0]), "uploads_per_user": UPLOADS}
    with Service(tmp_path_factory.mktemp("tight"), **limits) as running:
        running.publish(wide.folder)
        yield running


def usage(service: Service, token: str) -> dict[str, Any]:
    answer = service.client.get("/users/me", headers={"Authorization": f"Bearer {token}"})
    shown: dict[str, Any] = answer.json()["usage"]
    return {name: shown[name] for name in ("bytes", "bytes_limit", "uploads", "uploads_limit")}


def practise(service: Service, token: str, content: bytes, method: str) -> Any:
    return service.submit(token, "wide", content, method=method, kind="practice")


def test_stored_bytes_are_limited_and_withdrawal_frees_space(limited_service: Service, contents: list[bytes]) -> None:
    token, size = limited_service.token("ann"), len(contents[0])
    sent = [
        limited_service.submit_and_score(token, "wide", content, kind="practice", method=f"m{i}")
        for i, content in enumerate(contents[:FILES])
    ]
    assert usage(limited_service, token) == {
        "bytes": FILES * size,
        "bytes_limit": FILES * size,
        "uploads": 0,
        "uploads_limit": UPLOADS,
    }
    for refused in (
        practise(limited_service, token, contents[3], "more"),
        MultipartUpload(limited_service, token, "wide", contents[3]).start(),
    ):
        problem = refused.json()
        assert (refused.status_code, problem["code"]) == (413, "quota.bytes")
        assert f"may have at most {FILES * size} bytes" in problem["detail"]
        assert f"this file has {size}" in problem["detail"]
        assert "Withdraw" in problem["hint"]
    assert practise(limited_service, limited_service.token("another"), contents[3], "more").status_code == 202
    gone = limited_service.client.delete(f"/submissions/{sent[0]['id']}", headers={"Authorization": f"Bearer {token}"})
    assert gone.status_code == 204
    assert usage(limited_service, token)["bytes"] == (FILES - 1) * size
    assert practise(limited_service, token, contents[3], "more").status_code == 202


def test_duplicate_needs_no_storage_quota(limited_service: Service, contents: list[bytes]) -> None:
    token = limited_service.token("ben")
    for i, content in enumerate(contents[:FILES]):
        limited_service.submit_and_score(token, "wide", content, kind="practice", method=f"m{i}")
    again = MultipartUpload(limited_service, token, "wide", contents[0], kind="practice", method="m0").started()
    again.put_all_parts()
    assert again.complete().status_code == 202
    assert usage(limited_service, token)["bytes"] == FILES * len(contents[0])


def test_simultaneous_uploads_cannot_exceed_the_storage_quota(limited_service: Service, contents: list[bytes]) -> None:
    token = limited_service.token("racer")
    starts = [
        MultipartUpload(limited_service, token, "wide", content, kind="practice", method=f"p{i}")
        for i, content in enumerate(contents)
    ]
    with ThreadPoolExecutor(len(starts)) as threads:
        answers = list(threads.map(lambda start: start.start().status_code, starts))
    assert Counter(answers) == {201: FILES, 413: len(starts) - FILES}
    assert usage(limited_service, token)["bytes"] == FILES * len(contents[0])


def test_compressed_file_is_counted_by_its_inflated_size(limited_service: Service, contents: list[bytes]) -> None:
    token = limited_service.token("cleo")
    for i, content in enumerate(contents[:FILES]):
        limited_service.submit_and_score(token, "wide", content, kind="practice", method=f"m{i}")
    before = limited_service.files()
    refused = limited_service.client.put(
        "/benchmarks/wide/submissions",
        params={"method": "packed", "kind": "practice"},
        content=gzip.compress(contents[3]),
        headers={"Authorization": f"Bearer {token}", "Content-Encoding": "gzip"},
    )
    assert (refused.status_code, refused.json()["code"]) == (413, "quota.bytes")
    assert limited_service.files() == before
    assert usage(limited_service, token)["uploads"] == 0


def test_open_uploads_are_limited_until_one_is_cancelled(limited_service: Service, contents: list[bytes]) -> None:
    token = limited_service.token("dora")
    started = [
        MultipartUpload(limited_service, token, "wide", b"x" * 10, kind="practice", method=f"u{i}").started()
        for i in range(UPLOADS)
    ]
    for refused in (
        MultipartUpload(limited_service, token, "wide", contents[0]).start(),
        practise(limited_service, token, contents[0], "one"),
    ):
        assert (refused.status_code, refused.json()["code"]) == (429, "quota.uploads")
        assert "Retry-After" not in refused.headers
    cancelled = limited_service.client.delete(f"/submissions/{started[0].id}/parts", headers=started[0].authorization)
    assert cancelled.status_code == 204
    assert practise(limited_service, token, contents[0], "one").status_code == 202


def test_single_uploads_count_while_they_arrive(limited_service: Service, contents: list[bytes]) -> None:
    content, token = contents[0], limited_service.token("eve")
    with ExitStack() as connections:
        for _ in range(FILES):
            connection = connections.enter_context(socket.create_connection(("localhost", limited_service.port)))
            connection.sendall(_head(token, content) + content[:-1])
        until(lambda: usage(limited_service, token)["uploads"] == FILES, "open uploads")
        assert usage(limited_service, token) == {
            "bytes": FILES * len(content),
            "bytes_limit": FILES * len(content),
            "uploads": FILES,
            "uploads_limit": UPLOADS,
        }
        late = connections.enter_context(
            socket.create_connection(("localhost", limited_service.port), PATIENCE_SECONDS)
        )
        late.sendall(_head(token, content))  # without a byte of the file
        assert late.makefile("rb").readline().startswith(b"HTTP/1.1 413 ")


def _head(token: str, content: bytes) -> bytes:
    request = "PUT /api/v1/benchmarks/wide/submissions?method=ours&kind=practice HTTP/1.1\r\nHost: localhost\r\n"
    return f"{request}Authorization: Bearer {token}\r\nContent-Length: {len(content)}\r\n\r\n".encode()

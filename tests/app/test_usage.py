"""What one user may keep on the server, and how many uploads they may have under way."""

from __future__ import annotations

import gzip
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.app.sending import Sending
from tests.app.service import PATIENCE_SECONDS, Service, npy, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.app.benchmarks import Example

FILES, UPLOADS = 3, 4


@pytest.fixture(scope="module")
def contents(wide: Example) -> list[bytes]:
    """Different files of one size, longer than what is read before room is made for them."""
    return [npy(wide.scores(seed=seed)) for seed in range(8)]


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory, wide: Example, contents: list[bytes]) -> Iterator[Service]:
    """A server on which a user may keep three files, and have four uploads under way."""
    limits = {"bytes_per_user": FILES * len(contents[0]), "uploads_per_user": UPLOADS}
    with Service(tmp_path_factory.mktemp("tight"), **limits) as running:
        running.publish(wide.folder)
        yield running


def usage(service: Service, token: str) -> dict[str, Any]:
    answer = service.client.get("/users/me", headers={"Authorization": f"Bearer {token}"})
    shown: dict[str, Any] = answer.json()["usage"]
    return shown


def practise(service: Service, token: str, content: bytes, method: str) -> Any:
    return service.submit(token, "wide", content, method=method, kind="practice")


def test_practice_files_are_kept_up_to_a_limit_and_a_withdrawn_one_makes_room(
    tight: Service, contents: list[bytes]
) -> None:
    token, size = tight.token("ann"), len(contents[0])
    sent = [
        tight.scored(token, "wide", content, kind="practice", method=f"m{i}")
        for i, content in enumerate(contents[:FILES])
    ]
    assert usage(tight, token) == {
        "bytes": FILES * size,
        "bytes_limit": FILES * size,
        "uploads": 0,
        "uploads_limit": UPLOADS,
    }
    for refused in (practise(tight, token, contents[3], "more"), Sending(tight, token, "wide", contents[3]).begin()):
        problem = refused.json()
        assert (refused.status_code, problem["code"]) == (413, "quota.bytes")
        assert str(FILES * size) in problem["expected"]
        assert f"{size} more beside the {FILES * size}" in problem["got"]
        assert "Withdraw" in problem["hint"]
    assert practise(tight, tight.token("another"), contents[3], "more").status_code == 202
    gone = tight.client.delete(f"/submissions/{sent[0]['id']}", headers={"Authorization": f"Bearer {token}"})
    assert gone.status_code == 204
    assert usage(tight, token)["bytes"] == (FILES - 1) * size
    assert practise(tight, token, contents[3], "more").status_code == 202


def test_a_file_that_is_there_already_needs_no_room(tight: Service, contents: list[bytes]) -> None:
    token = tight.token("ben")
    for i, content in enumerate(contents[:FILES]):
        tight.scored(token, "wide", content, kind="practice", method=f"m{i}")
    again = Sending(tight, token, "wide", contents[0], kind="practice", method="m0").started()
    again.put_all()
    assert again.complete().status_code == 202
    assert usage(tight, token)["bytes"] == FILES * len(contents[0])


def test_simultaneous_uploads_cannot_exceed_the_bytes(tight: Service, contents: list[bytes]) -> None:
    token = tight.token("racer")
    starts = [
        Sending(tight, token, "wide", content, kind="practice", method=f"p{i}") for i, content in enumerate(contents)
    ]
    with ThreadPoolExecutor(len(starts)) as threads:
        answers = list(threads.map(lambda start: start.begin().status_code, starts))
    assert Counter(answers) == {201: FILES, 413: len(starts) - FILES}
    assert usage(tight, token)["bytes"] == FILES * len(contents[0])


def test_the_size_of_a_compressed_file_is_counted_when_it_is_known(tight: Service, contents: list[bytes]) -> None:
    token = tight.token("cleo")
    for i, content in enumerate(contents[:FILES]):
        tight.scored(token, "wide", content, kind="practice", method=f"m{i}")
    before = tight.files()
    refused = tight.client.put(
        "/benchmarks/wide/submissions",
        params={"method": "packed", "kind": "practice"},
        content=gzip.compress(contents[3]),
        headers={"Authorization": f"Bearer {token}", "Content-Encoding": "gzip"},
    )
    assert (refused.status_code, refused.json()["code"]) == (413, "quota.bytes")
    assert tight.files() == before
    assert usage(tight, token)["uploads"] == 0


def test_uploads_under_way_are_limited_until_one_is_given_up(tight: Service, contents: list[bytes]) -> None:
    token = tight.token("dora")
    started = [
        Sending(tight, token, "wide", b"x" * 10, kind="practice", method=f"u{i}").started() for i in range(UPLOADS)
    ]
    for refused in (Sending(tight, token, "wide", contents[0]).begin(), practise(tight, token, contents[0], "one")):
        assert (refused.status_code, refused.json()["code"]) == (429, "quota.uploads")
        assert "Retry-After" not in refused.headers
    given_up = tight.client.delete(f"/submissions/{started[0].id}/parts", headers=started[0].capability)
    assert given_up.status_code == 204
    assert practise(tight, token, contents[0], "one").status_code == 202


def test_uploads_in_one_piece_count_while_they_come(tight: Service, contents: list[bytes]) -> None:
    content, token = contents[0], tight.token("eve")
    with ExitStack() as connections:
        for _ in range(FILES):
            connection = connections.enter_context(socket.create_connection(("localhost", tight.port)))
            connection.sendall(_head(token, content) + content[:-1])
        until(lambda: usage(tight, token)["uploads"] == FILES, "uploads on their way")
        assert usage(tight, token) == {
            "bytes": FILES * len(content),
            "bytes_limit": FILES * len(content),
            "uploads": FILES,
            "uploads_limit": UPLOADS,
        }
        late = connections.enter_context(socket.create_connection(("localhost", tight.port), PATIENCE_SECONDS))
        late.sendall(_head(token, content))  # and not a byte of the file
        assert late.makefile("rb").readline().startswith(b"HTTP/1.1 413 ")


def _head(token: str, content: bytes) -> bytes:
    request = "PUT /api/v1/benchmarks/wide/submissions?method=ours&kind=practice HTTP/1.1\r\nHost: localhost\r\n"
    return f"{request}Authorization: Bearer {token}\r\nContent-Length: {len(content)}\r\n\r\n".encode()

"""Requests that lie about their length, never come whole, or come too slowly."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select

from app.db.models import State, Submission
from ldsboard.formats import HEADER_LIMIT
from tests.app.service import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from tests.hostile.conftest import Board

REST = b"PUT /api/v1/benchmarks/hostile/submissions HTTP/1.1\r\n\r\n"


def opened(board: Board, *lines: str, content: bytes = b"", token: bool = True) -> socket.socket:
    """Begin a request with these header lines and the first bytes of a body."""
    head = ["PUT /api/v1/benchmarks/hostile/submissions?method=sent&kind=practice HTTP/1.1", "Host: localhost"]
    head += [f"Authorization: Bearer {board.token}"] * token + [*lines, "Connection: close", "", ""]
    connection = socket.create_connection(("localhost", board.service.port), PATIENCE_SECONDS)
    connection.sendall("\r\n".join(head).encode("latin1") + content)
    return connection


def answer(connection: socket.socket) -> bytes:
    """Return all that comes until the server hangs up."""
    with connection, connection.makefile("rb") as incoming:
        return incoming.read()


LENGTHS = {
    "none": ([], b" 411 ", b"upload.length_required"),
    "chunked": (["Transfer-Encoding: chunked"], b" 411 ", b"upload.length_required"),
    "zero": (["Content-Length: 0"], b" 422 ", b"scores.empty"),
    "over the limit": ([f"Content-Length: {2**28 + 1}"], b" 413 ", b"upload.too_large"),
    "2**62": ([f"Content-Length: {2**62}"], b" 413 ", b"upload.too_large"),
    "2**70": ([f"Content-Length: {2**70}"], b" 400 ", b""),
    "negative": (["Content-Length: -1"], b" 400 ", b""),
    "signed": (["Content-Length: +5"], b" 400 ", b""),
    "a power": (["Content-Length: 1e3"], b" 400 ", b""),
    "another digit": (["Content-Length: \xb2"], b" 400 ", b""),
    "two": (["Content-Length: 5", "Content-Length: 6"], b" 400 ", b""),
    "one and chunked": (["Content-Length: 5", "Transfer-Encoding: chunked"], b" 400 ", b""),
    "no HTTP": (["\0" * 99], b" 400 ", b""),
}


@pytest.mark.parametrize("name", LENGTHS)
def test_a_length_that_cannot_be_is_refused(board: Board, name: str) -> None:
    lines, status, code = LENGTHS[name]
    before = board.service.rows()
    said = answer(opened(board, *lines))
    assert said.split(b"\r\n")[0].startswith(b"HTTP/1.1" + status), said
    assert code in said
    assert board.service.rows() == before


def test_a_length_shorter_than_the_file_makes_another_file_and_the_rest_no_request(board: Board) -> None:
    content = board.good()
    said = answer(opened(board, f"Content-Length: {len(content) - 9}", content=content + REST))
    assert b"scores.truncated" in said
    assert said.count(b"HTTP/1.1 ") == 1


def test_a_length_longer_than_the_file_is_refused_by_the_header(board: Board) -> None:
    content = board.good()
    assert b"scores.truncated" in answer(opened(board, f"Content-Length: {len(content) + 9}", content=content))


def test_nothing_is_read_of_a_body_without_a_token(board: Board) -> None:
    said = answer(opened(board, f"Content-Length: {2**27}", token=False))
    assert b"auth.missing" in said


def test_a_file_that_is_refused_is_answered_before_it_has_come(board: Board) -> None:
    said = answer(opened(board, f"Content-Length: {2**27}", content=b"0.1,0.2\n" * (HEADER_LIMIT // 8)))
    assert b"scores.unreadable" in said


def uploading(board: Board) -> int:
    """Return how many submissions wait for their bytes."""
    with board.service.database.read() as session:
        return session.scalar(select(func.count()).where(Submission.state == State.UPLOADING)) or 0


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("sent", [0, 1, 100, HEADER_LIMIT - 1, HEADER_LIMIT, HEADER_LIMIT + 1, -1])
def test_a_connection_that_drops_leaves_nothing(board: Board, sent: int, reset: bool) -> None:
    content = board.good()
    begun = content[: sent if sent >= 0 else len(content) - 1]
    connection = opened(board, f"Content-Length: {len(content)}", content=begun)
    if len(begun) >= HEADER_LIMIT:
        until(lambda: uploading(board) == 1, "a submission that waits for its bytes")
    if reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    else:
        connection.shutdown(socket.SHUT_WR)
        assert answer(connection) == b""
    until(lambda: uploading(board) == 0, "no submission that waits for its bytes")


def test_slow_bodies_keep_nobody_waiting_and_arrive(board: Board) -> None:
    contents = [board.good() for _ in range(20)]
    slow = [opened(board, f"Content-Length: {len(content)}", content=content[:70_000]) for content in contents]
    until(lambda: uploading(board) == len(slow), "all of them begun")
    board.service.scored(board.service.token("other"), board.example.name, board.good())
    for connection, content in zip(slow, contents, strict=True):
        connection.sendall(content[70_000:])
    for connection in slow:
        assert answer(connection).startswith(b"HTTP/1.1 202 ")
    board.service.idle()

"""Requests with a wrong length, incomplete requests, and slow requests."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select

from app.db.models import State, Submission
from ldsboard.formats.score_files import HEADER_LIMIT
from tests.app.service import PATIENCE_SECONDS, read_response, until

if TYPE_CHECKING:
    from tests.hostile.conftest import Board

SECOND_REQUEST = b"PUT /api/v1/benchmarks/hostile/submissions HTTP/1.1\r\n\r\n"


def start_request(board: Board, *lines: str, content: bytes = b"", token: bool = True) -> socket.socket:
    """Open a connection and send a request's head, with these extra header lines, and the first bytes of its body."""
    head = ["PUT /api/v1/benchmarks/hostile/submissions?method=sent&kind=practice HTTP/1.1", "Host: localhost"]
    head += [f"Authorization: Bearer {board.token}"] * token + [*lines, "Connection: close", "", ""]
    connection = socket.create_connection(("localhost", board.service.port), PATIENCE_SECONDS)
    connection.sendall("\r\n".join(head).encode("latin1") + content)
    return connection


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
def test_server_rejects_invalid_content_length(board: Board, name: str) -> None:
    lines, status, code = LENGTHS[name]
    before = board.service.rows()
    response = read_response(start_request(board, *lines))
    assert response.split(b"\r\n")[0].startswith(b"HTTP/1.1" + status), response
    assert code in response
    assert board.service.rows() == before


def test_server_rejects_too_short_content_length_and_ignores_remaining_bytes(board: Board) -> None:
    content = board.valid_file()
    response = read_response(
        start_request(board, f"Content-Length: {len(content) - 9}", content=content + SECOND_REQUEST)
    )
    assert b"scores.truncated" in response
    assert response.count(b"HTTP/1.1 ") == 1


def test_server_rejects_too_long_content_length_by_file_header(board: Board) -> None:
    content = board.valid_file()
    assert b"scores.truncated" in read_response(
        start_request(board, f"Content-Length: {len(content) + 9}", content=content)
    )


def test_server_reads_no_body_without_token(board: Board) -> None:
    response = read_response(start_request(board, f"Content-Length: {2**27}", token=False))
    assert b"auth.missing" in response


def test_server_rejects_malformed_file_before_reading_whole_body(board: Board) -> None:
    response = read_response(
        start_request(board, f"Content-Length: {2**27}", content=b"0.1,0.2\n" * (HEADER_LIMIT // 8))
    )
    assert b"scores.unreadable" in response


def count_uploading(board: Board) -> int:
    """Return the number of submissions in the state ``uploading``."""
    with board.service.database.read() as session:
        return session.scalar(select(func.count()).where(Submission.state == State.UPLOADING)) or 0


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("sent", [0, 1, 100, HEADER_LIMIT - 1, HEADER_LIMIT, HEADER_LIMIT + 1, -1])
def test_dropped_connection_leaves_no_upload(board: Board, sent: int, reset: bool) -> None:
    content = board.valid_file()
    first_bytes = content[: sent if sent >= 0 else len(content) - 1]
    connection = start_request(board, f"Content-Length: {len(content)}", content=first_bytes)
    if len(first_bytes) >= HEADER_LIMIT:
        until(lambda: count_uploading(board) == 1, "a submission in the state uploading")
    if reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    else:
        connection.shutdown(socket.SHUT_WR)
        assert read_response(connection) == b""
    until(lambda: count_uploading(board) == 0, "no submission in the state uploading")


def test_slow_uploads_complete_and_do_not_delay_others(board: Board) -> None:
    contents = [board.valid_file() for _ in range(20)]
    slow = [start_request(board, f"Content-Length: {len(content)}", content=content[:70_000]) for content in contents]
    until(lambda: count_uploading(board) == len(slow), "20 submissions in the state uploading")
    board.service.submit_and_score(board.service.token("other"), board.example.name, board.valid_file())
    for connection, content in zip(slow, contents, strict=True):
        connection.sendall(content[70_000:])
    for connection in slow:
        assert read_response(connection).startswith(b"HTTP/1.1 202 ")
    board.service.wait_until_idle()

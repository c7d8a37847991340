"""Receiving the body of an upload: it is decompressed and written to storage as it arrives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from app.errors import body_too_large
from app.submissions.arrivals import Arrival
from app.web.content_encoding import make_decoder
from app.web.open_bodies import OpenBodies
from ldsboard.formats.score_files import HEADER_LIMIT
from ldsboard.problems import ProblemError

IDLE_TIMEOUT_SECONDS, MIN_PROGRESS_BYTES = 60.0, 64 * 1024
"""An upload is cancelled if fewer than `MIN_PROGRESS_BYTES` bytes arrive within `IDLE_TIMEOUT_SECONDS`."""


def content_length(request: Request, limit: int) -> int:
    """Return the Content-Length of a request that sends a file.

    Raises
    ------
    ProblemError
        ``upload.length_required``: the request has no valid Content-Length.
        ``upload.too_large``: the Content-Length exceeds `limit`, in bytes.
    """
    length = _stated_length(request)
    check_limit(length, limit)
    return length


async def read_body(request: Request, limit: int) -> bytes:
    """Return the complete body of a request; reject a body of more than `limit` bytes before any of the body is read.

    The body is JSON, or the first bytes of a score file. Without this function, the framework would read a body of any size
    before the token is checked.

    Raises
    ------
    ProblemError
        ``upload.length_required``: the request has no valid Content-Length.
        ``request.too_large``: the Content-Length exceeds `limit`.
        ``upload.interrupted``: the client disconnected, or the body did not arrive completely within `IDLE_TIMEOUT_SECONDS`.
    """
    length = _stated_length(request)
    if length > limit:
        raise body_too_large(limit)
    try:
        async with asyncio.timeout(IDLE_TIMEOUT_SECONDS):
            return await request.body()
    except (ClientDisconnect, TimeoutError):
        raise interrupted(length) from None


def _stated_length(request: Request) -> int:
    stated = request.headers.get("content-length", "")
    if not stated.isdigit():
        raise ProblemError(
            "upload.length_required",
            "The request has no Content-Length header.",
            "Send a file rather than a stream, for instance with curl -T scores.npy.",
        )
    return int(stated)


def check_limit(size: int, limit: int, got: str = "") -> None:
    """Raise ``upload.too_large`` if `size` exceeds `limit`, both in bytes; `got` is the text about what is too large."""
    if size > limit:
        raise ProblemError.mismatch(
            "upload.too_large",
            expected=f"at most {limit} bytes",
            got=got or f"{size} bytes",
            hint="Send only the score file, with float32 or float16 scores.",
        )


def is_compressed(request: Request) -> bool:
    """Return whether a request has a Content-Encoding other than ``identity``."""
    return request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity")


class Body:
    """The body of a request with a Content-Length; `receive` decompresses the body and writes the bytes to an `Arrival`.

    Parameters
    ----------
    length
        The Content-Length, in bytes. The web server guarantees that a complete body has exactly this length.
    limit
        Largest size of the decompressed body, in bytes.

    Attributes
    ----------
    encoded
        Whether the body is compressed.
    largest_size
        Function that takes the first bytes of the decompressed body, and returns the largest size that the whole decompressed
        body may have; the function can raise a ProblemError. Only called for compressed bodies. With None, only `limit` applies.

    Raises
    ------
    ProblemError
        ``upload.encoding``: the Content-Encoding of the request is not supported.
    """

    def __init__(self, request: Request, arrival: Arrival, length: int, limit: int, open_bodies: OpenBodies) -> None:
        self.encoded = is_compressed(request)
        self._write = make_decoder(request.headers.get("content-encoding", ""), self._write_decoded)
        self._request = request
        self._open_bodies = open_bodies
        self._ended = False
        self._arrival = arrival
        self._length = length
        self._limit = limit
        self.largest_size: Callable[[bytes], int] | None = None

    async def receive(self, until: int | None = None) -> None:
        """Receive, decompress and write bytes until the `Arrival` has at least `until` bytes or the body ends.

        With None, the whole rest of the body is received.

        Raises
        ------
        ProblemError
            ``upload.interrupted``: the client disconnected or sent too slowly.
            ``upload.too_large``: the decompressed body exceeds `limit`, or the size that `largest_size` returns.
            ``upload.encoding``: the bytes cannot be decompressed, or a gzip body has too many small members.
            ``internal.full``: the disk has too little free space.
            Any error that `largest_size` raises.
        """
        writing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        writing.set_result(None)
        try:
            while not self._ended and (until is None or self._arrival.size < until):
                piece = await self._next_piece(until)
                await writing
                # The next piece is received while a thread hashes and writes this piece.
                writing = asyncio.ensure_future(self._write_piece(piece))
                if until is not None:
                    await writing
            await writing
        except (ClientDisconnect, TimeoutError):
            raise interrupted(self._length) from None
        finally:
            await asyncio.wait([writing])  # after any error too, no thread may still be writing

    async def _write_piece(self, piece: bytes) -> None:
        if not self.encoded:
            await run_in_threadpool(self._write, piece)
            return
        async with self._open_bodies.decompressing:
            start = time.perf_counter()
            try:
                await run_in_threadpool(self._write, piece)
            finally:  # decompression takes at most half of the time of one processor
                await asyncio.sleep(time.perf_counter() - start)

    async def _next_piece(self, min_bytes: int | None) -> bytes:
        """Return the next bytes, at least `min_bytes` unless the body ends.

        If `min_bytes` is None, the minimum is `OpenBodies.piece_bytes`, which depends on the number of arriving bodies.

        Raises
        ------
        ClientDisconnect
            The client closed the connection.
        TimeoutError
            Fewer than `MIN_PROGRESS_BYTES` bytes arrived within `IDLE_TIMEOUT_SECONDS`.
        """
        chunks, size, progress = [], 0, 0
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(IDLE_TIMEOUT_SECONDS) as idle:
            while size < (min_bytes or self._open_bodies.piece_bytes) and not self._ended:
                message = await self._request.receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                chunks.append(message.get("body", b""))
                size += len(chunks[-1])
                if size - progress >= MIN_PROGRESS_BYTES:
                    progress = size
                    idle.reschedule(loop.time() + IDLE_TIMEOUT_SECONDS)
                self._ended = not message.get("more_body", False)
        return b"".join(chunks)

    def _write_decoded(self, piece: bytes) -> None:
        check_limit(self._arrival.size + len(piece), self._limit, got="a body that inflates to more than that")
        self._arrival.write(piece)
        if self.encoded and self.largest_size is not None and self._arrival.size >= HEADER_LIMIT:
            self._limit = min(self._limit, self.largest_size(self._arrival.start))
            self.largest_size = None


def interrupted(size: int) -> ProblemError:
    """Return the error for a connection that ended before all `size` bytes of a body had arrived."""
    return ProblemError(
        "upload.interrupted", f"The connection ended before all {size} bytes had arrived.", "Send the file again."
    )

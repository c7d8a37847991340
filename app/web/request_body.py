"""Receiving the body of an upload: it is decompressed and written to storage as it arrives."""

from __future__ import annotations

import asyncio

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from app.errors import body_too_large
from app.submissions.storage import Arrival
from app.web.content_encoding import make_decoder
from ldsboard.problems import ProblemError

IDLE_TIMEOUT_SECONDS = 60.0
"""How long an upload may send nothing before it is cancelled."""

WRITE_BYTES = 4 << 20
"""Bytes that are collected before they are written. Passing a small piece to another thread takes longer than writing it."""


def content_length(request: Request, limit: int) -> int:
    """Return the Content-Length of a request that sends a file.

    Raises
    ------
    ProblemError
        ``upload.length_required``, or ``upload.too_large`` above `limit`.
    """
    length = _stated_length(request)
    check_limit(length, limit)
    return length


async def read_body(request: Request, limit: int) -> bytes:
    """Return the whole body of a request that sends no file, or only the beginning of one.

    The framework would read a body of any size before it checks the token.

    Raises
    ------
    ProblemError
        ``upload.length_required``, ``upload.interrupted``, or ``request.too_large`` above `limit`.
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
    """Raise ``upload.too_large`` if `size` exceeds `limit`, both in bytes; `got` describes what is too large."""
    if size > limit:
        raise ProblemError.mismatch(
            "upload.too_large",
            expected=f"at most {limit} bytes",
            got=got or f"{size} bytes",
            hint="Send float32 or float16 scores.",
        )


class Body:
    """The body of a request with a Content-Length, written to an arrival as it is received.

    Parameters
    ----------
    length
        The Content-Length, in bytes. The web server guarantees that a complete body has exactly this length.
    limit
        Largest size of the decompressed body, in bytes.
    """

    def __init__(self, request: Request, arrival: Arrival, length: int, limit: int) -> None:
        self.encoded = request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity")
        self._write = make_decoder(request.headers.get("content-encoding", ""), self._write_decoded)
        self._request = request
        self._ended = False
        self._arrival = arrival
        self._length = length
        self._limit = limit

    async def receive(self, until: int | None = None) -> None:
        """Receive and write bytes, until the arrival has at least `until` bytes or the body ends.

        Raises
        ------
        ProblemError
            ``upload.interrupted``, ``upload.too_large``, ``upload.encoding``, ``internal.full``.
        """
        writing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        writing.set_result(None)
        try:
            while not self._ended and (until is None or self._arrival.size < until):
                piece = await self._next_piece(WRITE_BYTES if until is None else until)
                await writing
                # The next piece is received while a thread hashes and writes this piece.
                writing = asyncio.ensure_future(run_in_threadpool(self._write, piece))
                if until is not None:
                    await writing
            await writing
        except (ClientDisconnect, TimeoutError):
            raise interrupted(self._length) from None
        finally:
            await asyncio.wait([writing])  # after any error too, no thread may still be writing

    async def _next_piece(self, min_bytes: int) -> bytes:
        """Return the next bytes, at least `min_bytes` unless the body ends; raise TimeoutError if the client stops sending."""
        chunks, size = [], 0
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(IDLE_TIMEOUT_SECONDS) as idle:
            while size < min_bytes and not self._ended:
                message = await self._request.receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                idle.reschedule(loop.time() + IDLE_TIMEOUT_SECONDS)
                chunks.append(message.get("body", b""))
                size += len(chunks[-1])
                self._ended = not message.get("more_body", False)
        return b"".join(chunks)

    def _write_decoded(self, piece: bytes) -> None:
        check_limit(self._arrival.size + len(piece), self._limit, got="a body that inflates to more")
        self._arrival.write(piece)


def interrupted(size: int) -> ProblemError:
    """Return the error of an upload of `size` bytes that did not arrive completely."""
    return ProblemError(
        "upload.interrupted", f"The connection ended before all {size} bytes had arrived.", "Send the file again."
    )

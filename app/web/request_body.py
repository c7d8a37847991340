"""The body of an upload, on its way into storage."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from app.web.content_encoding import inflating
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from fastapi import Request

    from app.submissions.storage import Arrival

SILENCE_SECONDS = 60.0
"""How long an upload may send nothing before it is given up."""

WRITE_BYTES = 4 << 20
"""What is gathered before it is written: handing a small piece to another thread takes longer than writing it."""


def stated_length(request: Request, limit: int) -> int:
    """Return the Content-Length of a request.

    Raises
    ------
    ProblemError
        ``upload.length_required``, or ``upload.too_large`` above `limit`.
    """
    stated = request.headers.get("content-length", "")
    if not stated.isdigit():
        raise ProblemError(
            "upload.length_required",
            expected="a Content-Length header",
            got="none",
            hint="Send a file rather than a stream, for instance with curl -T scores.npy.",
        )
    check_limit(int(stated), limit)
    return int(stated)


def check_limit(size: int, limit: int) -> None:
    """Raise ``upload.too_large`` for more bytes than are accepted."""
    if size > limit:
        raise _too_large(limit, f"{size} bytes")


class Body:
    """The body of a request whose length is stated, written into an arrival as it comes.

    Parameters
    ----------
    length
        Bytes that come over the wire; the web server sees to it that the body ends with the last of them, or not at all.
    limit
        Bytes that they may inflate to.
    """

    def __init__(self, request: Request, arrival: Arrival, length: int, limit: int) -> None:
        self.encoded = request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity")
        self._write = inflating(request.headers.get("content-encoding", ""), self._take)
        self._request = request
        self._ended = False
        self._arrival = arrival
        self._length = length
        self._limit = limit

    async def receive(self, until: int | None = None) -> None:
        """Write what comes, until the arrival has so many bytes or the body ends.

        Raises
        ------
        ProblemError
            ``upload.interrupted``, ``upload.too_large``, ``upload.encoding``, ``internal.full``.
        """
        writing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        writing.set_result(None)
        try:
            while not self._ended and (until is None or self._arrival.size < until):
                piece = await self._piece(WRITE_BYTES if until is None else until)
                await writing
                # The next piece comes in while this one is hashed and written.
                writing = asyncio.ensure_future(run_in_threadpool(self._write, piece))
                if until is not None:
                    await writing
            await writing
        except (ClientDisconnect, TimeoutError):
            raise interrupted(self._length) from None
        finally:
            await asyncio.wait([writing])  # whatever ended this, nobody writes any more

    async def _piece(self, enough: int) -> bytes:
        """Return the next bytes, at least so many unless the body ends; a connection that falls silent raises TimeoutError."""
        chunks, size = [], 0
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(SILENCE_SECONDS) as silence:
            while size < enough and not self._ended:
                message = await self._request.receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                silence.reschedule(loop.time() + SILENCE_SECONDS)
                chunks.append(message.get("body", b""))
                size += len(chunks[-1])
                self._ended = not message.get("more_body", False)
        return b"".join(chunks)

    def _take(self, piece: bytes) -> None:
        if self._arrival.size + len(piece) > self._limit:
            raise _too_large(self._limit, "a body that inflates to more")
        self._arrival.write(piece)


def interrupted(size: int) -> ProblemError:
    """Return the error of an upload that did not come whole."""
    return ProblemError(
        "upload.interrupted", expected=f"{size} bytes", got="a connection that ended early", hint="Send the file again."
    )


def _too_large(limit: int, got: str) -> ProblemError:
    return ProblemError(
        "upload.too_large", expected=f"at most {limit} bytes", got=got, hint="Send float32 or float16 scores."
    )

"""Limits of size and time for request bodies that are not files. The framework reads such a body before authentication."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import body_too_large, body_too_slow
from app.web.problem_responses import problem_response
from ldsboard.problems import ProblemError

LIMIT_BYTES = 64 * 1024

BODY_SECONDS = 20.0
"""Seconds for a whole body to arrive."""

FILES = re.compile(r"/api/v1/(benchmarks/[^/]+/submissions|submissions/[^/]+/parts/[^/]+)")
"""Paths of the PUT requests whose body is a score file or an upload part."""


class _RefusedError(Exception):
    """The error for a body that is larger than `LIMIT_BYTES`, or that has not arrived within `BODY_SECONDS`."""


class BodyLimit:
    """Middleware that rejects bodies above `LIMIT_BYTES`, and bodies that do not arrive within `BODY_SECONDS`.

    The two calls that send files (`FILES`) are exempt, because they set other limits.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http" or (scope["method"] == "PUT" and FILES.fullmatch(scope["path"])):
            await self.app(scope, receive, send)
            return
        received_bytes, complete, responded = 0, False, False
        refusal: ProblemError | None = None
        deadline = asyncio.get_running_loop().time() + BODY_SECONDS

        async def receive_within_limits() -> Message:
            nonlocal received_bytes, complete, refusal
            try:
                async with asyncio.timeout_at(None if complete else deadline):
                    message = await receive()
            except TimeoutError:
                refusal = body_too_slow(BODY_SECONDS)
                raise _RefusedError from None
            received_bytes += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if received_bytes > LIMIT_BYTES:
                refusal = body_too_large(LIMIT_BYTES)
                raise _RefusedError
            return message

        async def send_unless_refused(message: Message) -> None:
            nonlocal responded
            if refusal is None or responded:
                responded = True
                await send(message)

        # The application may turn the error into a response of its own; `send_unless_refused` drops that response.
        with suppress(_RefusedError):
            await self.app(scope, receive_within_limits, send_unless_refused)
        if refusal is not None and not responded:
            # Without this header the server would still wait for the rest of the body, only to drop it.
            response = problem_response(Request(scope), refusal.problem, headers={"Connection": "close"})
            await response(scope, receive, send)

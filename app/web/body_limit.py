"""A size limit for request bodies that are not files. The framework reads these bodies whole, before authentication."""

from __future__ import annotations

from contextlib import suppress

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import body_too_large
from app.web.problem_responses import problem_response

LIMIT_BYTES = 64 * 1024


class _TooLargeError(Exception):
    """The body exceeds the limit."""


class BodyLimit:
    """Middleware that rejects bodies above `LIMIT_BYTES`, except in PUT requests: the upload endpoints set other limits."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http" or scope["method"] == "PUT":
            await self.app(scope, receive, send)
            return
        received_bytes, responded = 0, False

        async def receive_counted() -> Message:
            nonlocal received_bytes
            message = await receive()
            received_bytes += len(message.get("body", b""))
            if received_bytes > LIMIT_BYTES:
                raise _TooLargeError
            return message

        async def send_below_limit(message: Message) -> None:
            nonlocal responded
            if received_bytes <= LIMIT_BYTES or responded:
                responded = True
                await send(message)

        # The application may turn the error into a response of its own; `send_below_limit` drops that response.
        with suppress(_TooLargeError):
            await self.app(scope, receive_counted, send_below_limit)
        if not responded:
            problem = body_too_large(LIMIT_BYTES).problem
            # Without this header the server would still receive the rest of the body, only to drop it.
            response = problem_response(Request(scope), problem, headers={"Connection": "close"})
            await response(scope, receive, send)

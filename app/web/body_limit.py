"""A limit to what a request may send where no file is expected: frameworks read a body whole, before they ask who sends it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from app.web import problem_responses
from ldsboard.problems import Problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LIMIT_BYTES = 64 * 1024


class _TooLargeError(Exception):
    """More came than is allowed."""


class BodyLimit:
    """Middleware that refuses bodies above `LIMIT_BYTES`; files come by PUT, whose endpoints count for themselves."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or scope["method"] == "PUT":
            await self.app(scope, receive, send)
            return
        came, answered = 0, False

        async def counted() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > LIMIT_BYTES:
                raise _TooLargeError
            return message

        async def sent(message: Message) -> None:
            nonlocal answered
            if came <= LIMIT_BYTES or answered:
                answered = True
                await send(message)

        # Whoever reads the body may make an answer of its own of the error: that one is dropped.
        with suppress(_TooLargeError):
            await self.app(scope, counted, sent)
        if not answered:
            await _refusal()(scope, receive, send)


def _refusal() -> ASGIApp:
    problem = Problem(
        "request.too_large",
        expected=f"a request of at most {LIMIT_BYTES} bytes",
        got="more",
        hint="Score files are sent by PUT.",
    )
    # Otherwise the rest of the body would still be received, and dropped.
    return problem_responses.problem_response(problem, headers={"Connection": "close"})

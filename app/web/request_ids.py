"""Ids of requests: every response and every log record of a request names the request, so that an error can be traced."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import structlog
from starlette.datastructures import Headers, MutableHeaders

from app.db.base import random_id

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "X-Request-ID"

GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""The ids that clients and proxies may give to a request; another id is replaced."""

REQUEST_ID = "ldsboard.request_id"
"""Key in the scope of a request."""


class RequestIds:
    """Middleware that takes the id of a request from its header, or draws one, and adds it to the response and to the log."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        request_id = scope[REQUEST_ID] = given if GIVEN_ID.fullmatch(given) else random_id()
        # Each request has a task of its own, and threads that work for it get a copy of the variables of this task.
        structlog.contextvars.bind_contextvars(request=request_id)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        await self.app(scope, receive, send_with_id)

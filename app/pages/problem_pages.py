"""Errors as pages: whoever asks for HTML outside the API reads the problem object in words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, cast

from starlette.responses import HTMLResponse

from app.pages.content.templates import render
from app.web.security_headers import HEADERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI, Request
    from starlette.responses import Response

KEPT = ("allow", "connection", "retry-after")
"""Headers of an error's answer that are kept when a page is put around it."""


def install(app: FastAPI) -> None:
    """Put a page around the answer of each error's handler; the handlers must be there already."""
    for error, handler in list(app.exception_handlers.items()):
        app.add_exception_handler(error, _page_around(cast("Callable[[Request, Exception], Response]", handler)))


def _page_around(handler: Callable[[Request, Exception], Response]) -> Callable[[Request, Exception], Response]:
    def answer(request: Request, error: Exception) -> Response:
        response = handler(request, error)
        wanted = "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/api/")
        if not wanted:
            return response
        problem = json.loads(bytes(response.body))
        # An answer to a failure of ours does not pass through the middleware, hence its headers here.
        headers = HEADERS | {name: response.headers[name] for name in KEPT if name in response.headers}
        return HTMLResponse(
            render("problem.html", problem=problem, path=request.url.path), response.status_code, headers
        )

    return answer

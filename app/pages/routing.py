"""A router for pages: HTML, conditional and compressed responses, absent from the OpenAPI description."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from starlette.responses import Response

from app.web.caching import deliver


class _Page(APIRoute):
    """A route whose responses pass through `deliver`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of the route, wrapped in `deliver`."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            return await deliver(request, await handle(request))

        return answer


class Pages(APIRouter):
    """A router for related pages."""

    def __init__(self) -> None:
        super().__init__(include_in_schema=False, default_response_class=HTMLResponse, route_class=_Page)

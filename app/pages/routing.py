"""A router for HTML pages. Responses are conditional and compressed, and the OpenAPI description omits the pages."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from app.web.public_route import PublicRoute


class Pages(APIRouter):
    """The router of one module of pages."""

    def __init__(self) -> None:
        super().__init__(include_in_schema=False, default_response_class=HTMLResponse, route_class=PublicRoute)

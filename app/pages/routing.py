"""A router for pages: HTML, conditional and compressed responses, absent from the OpenAPI description."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from app.web.public_route import PublicRoute


class Pages(APIRouter):
    """A router for related pages."""

    def __init__(self) -> None:
        super().__init__(include_in_schema=False, default_response_class=HTMLResponse, route_class=PublicRoute)

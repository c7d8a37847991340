"""A router for HTML pages. Public pages have an ETag and are compressed; the OpenAPI description omits all pages."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from app.web.public_route import PublicRoute


class Pages(APIRouter):
    """The router of one module of pages. Responses to anonymous GET requests are cached until the database changes."""

    def __init__(self) -> None:
        super().__init__(include_in_schema=False, default_response_class=HTMLResponse, route_class=PublicRoute)

"""Routers for pages: GET, HTML, conditional and compressed responses, absent from the OpenAPI description."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse

from app.web.dependencies import ContextDep
from app.web.public_route import PublicRoute

if TYPE_CHECKING:
    from collections.abc import Callable

    Handler = TypeVar("Handler", bound=Callable[..., Any])


class Pages(APIRouter):
    """A router for related pages."""

    def __init__(self) -> None:
        super().__init__(include_in_schema=False, default_response_class=HTMLResponse, route_class=PublicRoute)

    def page(self, path: str) -> Callable[[Handler], Handler]:
        """Register the decorated function as the handler of GET requests for a path."""
        return self.get(path)


def _public_url(context: ContextDep) -> str:
    return context.settings.public_url


PublicUrl = Annotated[str, Depends(_public_url)]
"""The public address of the site, from the settings."""

"""How pages are added: for GET and HEAD, as HTML, and not to the description of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse

from app.dependencies import TheRooms

if TYPE_CHECKING:
    from collections.abc import Callable

    Make = TypeVar("Make", bound=Callable[..., Any])


class Pages(APIRouter):
    """A room of the site: some pages that belong together."""

    def __init__(self) -> None:
        super().__init__(include_in_schema=False, default_response_class=HTMLResponse)

    def page(self, path: str) -> Callable[[Make], Make]:
        """Decorate the function that makes the page at an address."""
        return self.api_route(path, methods=["GET", "HEAD"])


def _public_url(rooms: TheRooms) -> str:
    return rooms.settings.public_url


PublicUrl = Annotated[str, Depends(_public_url)]
"""The address of the site, as people elsewhere write it."""

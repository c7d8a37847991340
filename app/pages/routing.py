"""How pages are added: for GET, as HTML, delivered in as few bytes as can be, and not to the description of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute

from app.web.caching import deliver
from app.web.dependencies import ContextDep

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from fastapi import Request
    from starlette.responses import Response

    Make = TypeVar("Make", bound=Callable[..., Any])


class _Page(APIRoute):
    """A page, delivered by `deliver`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        make = super().get_route_handler()

        async def answer(request: Request) -> Response:
            return await deliver(request, await make(request))

        return answer


class Pages(APIRouter):
    """A room of the site: some pages that belong together."""

    def __init__(self) -> None:
        super().__init__(include_in_schema=False, default_response_class=HTMLResponse, route_class=_Page)

    def page(self, path: str) -> Callable[[Make], Make]:
        """Decorate the function that makes the page at an address."""
        return self.get(path)


def _public_url(context: ContextDep) -> str:
    return context.settings.public_url


PublicUrl = Annotated[str, Depends(_public_url)]
"""The address of the site, as people elsewhere write it."""

"""The route of pages and API calls whose response to a request without cookie and token is the same for everybody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.routing import APIRoute

from app.web import caching
from app.web.client_version import check_client_version
from app.web.dependencies import count_request

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from fastapi import Request
    from starlette.responses import Response


class PublicRoute(APIRoute):
    """A route that keeps responses until the database changes, gives them ETags, and compresses them.

    This applies to GET requests without cookie and token. For a request with a cookie or a token, or a request that waits for a
    change, a new response is made and not kept.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of the route."""
        handle = super().get_route_handler()
        if self.methods != {"GET"}:
            return handle

        async def answer(request: Request) -> Response:
            if {"cookie", "authorization"} & set(request.headers) or "wait" in request.query_params:
                return caching.mark_personal(await handle(request))
            state = request.app.state
            await count_request(request, state.context)
            await check_client_version(request)
            packed = caching.accepts_gzip(request.headers)
            # Pages of waiting submissions say whether scoring is being restarted, which changes without a commit.
            key = (request.url.path, request.scope["query_string"], packed, state.context.sandbox.is_restarting)

            async def make() -> Response:
                response = await handle(request)
                if request.scope.get("session"):  # a cookie will be set
                    response.headers["Cache-Control"] = "no-store"
                return await caching.finish(response, packed=packed)

            return caching.validate(request, await state.response_cache.respond(key, make))

        return answer

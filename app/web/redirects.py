"""Redirects within the site: they hold no host, because the host of a request is a text that the client chooses."""

from __future__ import annotations

from starlette.datastructures import URL, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class RelativeRedirects:
    """Middleware that removes scheme and host from the Location of a redirect that leads to the host of the request.

    The router redirects ``/path/`` to ``/path``, and copies the Host header of the request to the Location. A cache could store
    this redirect, and send other clients to a host that one client chose.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_relative(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                own = URL(scope=scope)
                origin = f"{own.scheme}://{own.netloc}/"
                if headers.get("location", "").startswith(origin):
                    # One slash only: a browser would read the text after two slashes as a host.
                    headers["location"] = "/" + headers["location"].removeprefix(origin).lstrip("/")
            await send(message)

        await self.app(scope, receive, send_relative)

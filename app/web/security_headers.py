"""Security headers: pages load content only from this server, cannot be framed, and send no referrer to other sites."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PLOT_STYLE = """\
:where(.plot) {
  --plot-background: white;
  display: block;
  height: auto;
  height: intrinsic;
  max-width: 100%;
}
:where(.plot text),
:where(.plot tspan) {
  white-space: pre;
}"""
"""The style element that Observable Plot adds to every chart whose ``className`` is ``plot``: the only inline style of the pages.

The Content-Security-Policy allows the element by its hash. A browser test compares this text with the element, because another
version of Plot can add another text."""

PLOT_STYLE_HASH = b64encode(sha256(PLOT_STYLE.encode()).digest()).decode()

HEADERS = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            f"style-src 'self' 'sha256-{PLOT_STYLE_HASH}'",
            "img-src 'self' data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


SECRET_PATHS = frozenset({"/review"})
"""Paths of pages whose address holds a secret in the query."""

SECRET_PATH_HEADERS = {
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex",
}
"""Headers that keep the address and the content of a page in `SECRET_PATHS` from other sites, caches and search engines."""


def headers_of(path: str) -> dict[str, str]:
    """Return the security headers of every response to a request for `path`."""
    return HEADERS | SECRET_PATH_HEADERS if path.rstrip("/") in SECRET_PATHS else HEADERS


class SecurityHeaders:
    """Middleware that adds every security header that a response does not set itself.

    A response to a request with a cookie or a token also gets ``Cache-Control: no-store``, unless it sets Cache-Control itself.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in headers_of(scope["path"]).items():
                    headers.setdefault(name, value)
                if any(name in (b"cookie", b"authorization") for name, _ in scope["headers"]):
                    headers.setdefault("Cache-Control", "no-store")  # the response may contain private data
            await send(message)

        await self.app(scope, receive, send_with_headers)

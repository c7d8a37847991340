"""How pages reach a browser in as few bytes as can be: not again if it has them, and compressed.

Only what is made whole in memory passes here: pages, feeds and badges. Uploads, downloads of arrays and answers of the API that
are waited for go by untouched, which a middleware around the whole application could not promise. What a cookie opens is
neither kept nor compressed: beside what an address repeats, the length of a compressed page could tell the secrets in it.
"""

from __future__ import annotations

import gzip
from hashlib import sha256
from typing import TYPE_CHECKING

from fastapi.concurrency import run_in_threadpool
from starlette.responses import FileResponse, Response, StreamingResponse

if TYPE_CHECKING:
    from fastapi import Request
    from starlette.datastructures import Headers

LEVEL = 6
"""Of compression: a page of 100 entries takes 2 ms, and level 9 twice that for 1 % less."""

SMALLEST = 500
"""Bytes below which compression is not worth its own."""

OK, NOT_MODIFIED = 200, 304


async def deliver(request: Request, response: Response) -> Response:
    """Return what to answer where `response` was made: itself with a validator, compressed, or that it has not changed."""
    response.headers.add_vary_header("Cookie")
    streamed = isinstance(response, FileResponse | StreamingResponse)
    if streamed or response.status_code != OK or "cookie" in request.headers:
        return response
    # On a thread: hashing and compressing take milliseconds, in which uploads would stand still.
    return await run_in_threadpool(_deliver, request.headers, response)


def _deliver(asked: Headers, response: Response) -> Response:
    body, headers = bytes(response.body), response.headers
    # Weak: the same page in other bytes.
    headers["ETag"] = f'W/"{sha256(body).hexdigest()[:32]}"'
    headers.setdefault("Cache-Control", "no-cache")
    headers.add_vary_header("Accept-Encoding")
    if headers["ETag"] in [tag.strip() for tag in asked.get("if-none-match", "").split(",")]:
        return Response(
            status_code=NOT_MODIFIED, headers={name: headers[name] for name in ("ETag", "Cache-Control", "Vary")}
        )
    text = headers.get("content-type", "").partition(";")[0]
    if len(body) >= SMALLEST and text.startswith(("text/", "application/atom", "image/svg")) and accepts_gzip(asked):
        response.body = gzip.compress(body, LEVEL, mtime=0)
        headers["Content-Encoding"] = "gzip"
        headers["Content-Length"] = str(len(response.body))
    return response


def accepts_gzip(asked: Headers) -> bool:
    """Tell whether a browser takes gzip."""
    offers = [offer.replace(" ", "").lower() for offer in asked.get("accept-encoding", "").split(",")]
    return any(offer.partition(";")[0] == "gzip" and not offer.endswith((";q=0", ";q=0.0")) for offer in offers)

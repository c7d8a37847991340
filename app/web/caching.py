"""ETags and compression for pages, feeds and badges.

This is not a middleware, so that uploads, downloads of arrays and long-polling API responses remain unchanged. Responses to
requests with a cookie get no ETag and are not compressed: a compressed page that contains both a secret and text from the address
would leak the secret through its length (the BREACH attack).
"""

from __future__ import annotations

import gzip
from hashlib import sha256

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import FileResponse, Response, StreamingResponse

GZIP_LEVEL = 6
"""A page of 100 entries takes 2 ms at this level; level 9 takes twice as long for 1 % less."""

MIN_COMPRESSED_BYTES = 500
"""Shorter bodies are not compressed, because compression would save next to nothing."""

OK, NOT_MODIFIED = 200, 304


async def deliver(request: Request, response: Response) -> Response:
    """Return `response` with an ETag and compressed, or 304 if the browser already has it."""
    response.headers.add_vary_header("Cookie")
    streamed = isinstance(response, FileResponse | StreamingResponse)
    if streamed or response.status_code != OK or "cookie" in request.headers:
        return response
    # In a thread, because hashing and compressing take milliseconds in which the event loop could not serve uploads.
    return await run_in_threadpool(_validate_and_compress, request.headers, response)


def _validate_and_compress(request_headers: Headers, response: Response) -> Response:
    body, headers = bytes(response.body), response.headers
    # A weak ETag, because the same page may be sent compressed or not.
    headers["ETag"] = f'W/"{sha256(body).hexdigest()[:32]}"'
    headers.setdefault("Cache-Control", "no-cache")
    headers.add_vary_header("Accept-Encoding")
    if headers["ETag"] in [tag.strip() for tag in request_headers.get("if-none-match", "").split(",")]:
        return Response(
            status_code=NOT_MODIFIED, headers={name: headers[name] for name in ("ETag", "Cache-Control", "Vary")}
        )
    media_type = headers.get("content-type", "").partition(";")[0]
    if (
        len(body) >= MIN_COMPRESSED_BYTES
        and media_type.startswith(("text/", "application/atom", "image/svg"))
        and accepts_gzip(request_headers)
    ):
        response.body = gzip.compress(body, GZIP_LEVEL, mtime=0)
        headers["Content-Encoding"] = "gzip"
        headers["Content-Length"] = str(len(response.body))
    return response


def accepts_gzip(request_headers: Headers) -> bool:
    """Return whether the client accepts gzip."""
    offers = [offer.replace(" ", "").lower() for offer in request_headers.get("accept-encoding", "").split(",")]
    return any(offer.partition(";")[0] == "gzip" and not offer.endswith((";q=0", ";q=0.0")) for offer in offers)

"""ETags and compression for public pages and API responses.

`app.web.public_route.PublicRoute` applies these functions to GET requests for public pages and public API responses. These
responses get no ETag here and are not compressed: files, streams, responses with another status than 200, API responses that wait
for a change, and responses to requests with a cookie or a token.

A response to a request with a cookie or a token may contain both a secret and text from the address. If such a response were
compressed, an attacker who chooses the address could find out the secret from the compressed length (the BREACH attack).
"""

from __future__ import annotations

import gzip
import re
from hashlib import sha256

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import FileResponse, Response, StreamingResponse

GZIP_LEVEL = 3
"""The JSON of a leaderboard of 500 entries, 229 kB, takes 2 ms at this level; level 6 takes 4 ms for 15 % less."""

MIN_COMPRESSED_BYTES = 500
"""Shorter bodies are not compressed, because compression would save next to nothing."""

COMPRESSED_TYPES = ("text/", "application/json", "application/atom", "image/svg")

OK, NOT_MODIFIED = 200, 304

REFUSED = re.compile(r";q=0(\.0{0,3})?$")
"""The quality value, at the end of an offer in Accept-Encoding, with which a client refuses a coding."""


def mark_personal(response: Response) -> Response:
    """State in the Vary header that a response depends on the identity of the viewer; return the response."""
    response.headers.add_vary_header("Cookie")
    response.headers.add_vary_header("Authorization")
    return response


async def finish(response: Response, *, packed: bool) -> Response:
    """Give a public response an ETag and the headers of caching, and gzip its body if `packed` is set; return the response.

    Short bodies, and media types that compress badly, get an ETag but are not compressed. Files, streams and responses with
    another status than 200 get no ETag here and are not compressed.
    """
    mark_personal(response)
    if isinstance(response, FileResponse | StreamingResponse) or response.status_code != OK:
        return response
    # In a thread, because hashing and compressing take milliseconds in which the event loop could not serve uploads.
    await run_in_threadpool(_finish, response, packed=packed)
    return response


def _finish(response: Response, *, packed: bool) -> None:
    headers = response.headers
    # A weak ETag, because the same page may be sent compressed or not.
    headers["ETag"] = f'W/"{sha256(response.body).hexdigest()[:32]}"'
    headers.setdefault("Cache-Control", "no-cache")
    headers.add_vary_header("Accept-Encoding")
    media_type = headers.get("content-type", "").partition(";")[0]
    if packed and len(response.body) >= MIN_COMPRESSED_BYTES and media_type.startswith(COMPRESSED_TYPES):
        response.body = gzip.compress(response.body, GZIP_LEVEL, mtime=0)
        headers["Content-Encoding"] = "gzip"
        headers["Content-Length"] = str(len(response.body))


def validate(request: Request, response: Response) -> Response:
    """Return `response`, or an empty response with status 304 if the client has the same response already.

    The client has the same response if the request's If-None-Match header lists the ETag of `response`.
    """
    tags = [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]
    if response.headers.get("ETag") not in tags:
        return response
    kept = {name: response.headers[name] for name in ("ETag", "Cache-Control", "Vary")}
    return Response(status_code=NOT_MODIFIED, headers=kept)


def accepts_gzip(request_headers: Headers) -> bool:
    """Return whether the client accepts gzip."""
    offers = [offer.replace(" ", "").lower() for offer in request_headers.get("accept-encoding", "").split(",")]
    return any(offer.partition(";")[0] == "gzip" and not REFUSED.search(offer) for offer in offers)

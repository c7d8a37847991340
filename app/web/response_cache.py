"""Keeps responses to requests without cookie and token until the database changes, so that a public page is made only once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

from starlette.responses import FileResponse, Response, StreamingResponse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

OK = 200

MAX_BYTES = 64 << 20
"""Total size of the kept responses and their keys; the responses that were not used for longest are dropped first."""

OVERHEAD_BYTES = 2048
"""Memory of a kept response in addition to its body and key: headers and Python objects."""

MAX_BODY_BYTES = 4 << 20
"""Largest body that is kept."""


class ResponseCache:
    """The kept responses, by key. Use a cache only in the event loop, because the class has no lock.

    The revision of the database is read before a response is made, and the response is used only while the database has this
    revision. Therefore the next request after a commit sees the change. Simultaneous requests with one key wait for a single
    response.

    Parameters
    ----------
    revision
        Returns a number that every commit to the database changes.
    """

    def __init__(self, revision: Callable[[], int]) -> None:
        self._revision = revision
        self._kept_revision: int | None = None
        self._kept: OrderedDict[Hashable, Response] = OrderedDict()
        self._bytes = 0
        self._making: dict[tuple[Hashable, int], asyncio.Future[Response | None]] = {}

    async def respond(self, key: Hashable, make: Callable[[], Awaitable[Response]]) -> Response:
        """Return the response that is kept for a key; if there is none, return the response that `make` returns, and keep it.

        A response is kept and shared with simultaneous requests only if the status is 200, the body is in memory and has at most
        `MAX_BODY_BYTES` bytes, and the headers lack ``Cache-Control: no-store``.
        """
        revision = self._revision()
        if revision != self._kept_revision:
            self._kept.clear()
            self._bytes, self._kept_revision = 0, revision
        if (kept := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
            return _copy(kept)
        if (making := self._making.get((key, revision))) is not None:
            response = await making
            return await make() if response is None else _copy(response)
        made = self._making[key, revision] = asyncio.get_running_loop().create_future()
        response = None
        try:
            response = await make()
        finally:
            del self._making[key, revision]
            shared = response if response is not None and _may_keep(response) else None
            made.set_result(shared)
        if shared is None:
            return response
        if revision == self._kept_revision:
            self._keep(key, shared)
        return _copy(shared)

    def _keep(self, key: Hashable, response: Response) -> None:
        self._kept[key] = response
        self._bytes += _size(key, response)
        while self._bytes > MAX_BYTES:
            self._bytes -= _size(*self._kept.popitem(last=False))


def _size(key: Hashable, response: Response) -> int:
    return len(repr(key)) + len(response.body) + OVERHEAD_BYTES


def _may_keep(response: Response) -> bool:
    return (
        response.status_code == OK
        and not isinstance(response, FileResponse | StreamingResponse)
        and len(response.body) <= MAX_BODY_BYTES
        and "no-store" not in response.headers.get("Cache-Control", "")
    )


def _copy(response: Response) -> Response:
    """Return a copy of a response, so that the middleware can change the headers of the copy."""
    copied = Response(response.body, response.status_code)
    copied.raw_headers = list(response.raw_headers)
    return copied

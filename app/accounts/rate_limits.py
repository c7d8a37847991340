"""How many requests a minute one user, and one address of the network, may make; and how many of an address may wait."""

from __future__ import annotations

import math
import time
from collections import Counter
from contextlib import contextmanager
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from app.errors import RateError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_WAITING = 20
"""Requests of one address that may wait for a change at a time."""

IPV6_PREFIX = 64
"""Bits of an IPv6 address that one caller cannot choose: a network of this size is handed to every household."""


class RateLimiter:
    """Counts the requests of one server process, over a sliding minute.

    The minute before counts by its share, rounded down: one request more than the limit may pass as a minute of the clock begins.
    """

    def __init__(self, per_minute: int) -> None:
        self._item = RateLimitItemPerMinute(per_minute)
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def count(self, kind: str, who: str) -> None:
        """Count a request of a ``user`` or an ``address``.

        Raises
        ------
        RateError
            It is one too many in a minute.
        """
        key = _network(who) if kind == "address" else who
        if not self._limiter.hit(self._item, kind, key):
            left = self._limiter.get_window_stats(self._item, kind, key).reset_time - time.time()
            raise RateError(f"{self._item.amount} requests a minute from one {kind}", math.ceil(max(1.0, left)))


class WaitLimiter:
    """Counts the requests of one server process that wait for a change, by address; for its event loop alone."""

    def __init__(self, most: int = MAX_WAITING) -> None:
        self._most = most
        self._waiting: Counter[str] = Counter()

    @contextmanager
    def one(self, address: str) -> Iterator[bool]:
        """Count a request of an address as waiting until it is done; give whether it may wait."""
        key = _network(address)
        if self._waiting[key] >= self._most:
            yield False
            return
        self._waiting[key] += 1
        try:
            yield True
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key]


def _network(address: str) -> str:
    """Return what stands for an address: itself, or the network of an IPv6 one."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address  # a socket that is no address, such as a test's
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed, IPV6_PREFIX), strict=False))
    return address

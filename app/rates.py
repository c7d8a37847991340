"""How many requests a minute one user, and one address of the network, may make."""

from __future__ import annotations

import math
import time
from ipaddress import IPv6Address, ip_address, ip_network

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from app.errors import RateError

IPV6_PREFIX = 64
"""Bits of an IPv6 address that one caller cannot choose: a network of this size is handed to every household."""


class Rates:
    """Counts the requests of one server process, over a sliding minute."""

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


def _network(address: str) -> str:
    """Return what stands for an address: itself, or the network of an IPv6 one."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address  # a socket that is no address, such as a test's
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed, IPV6_PREFIX), strict=False))
    return address

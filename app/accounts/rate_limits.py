"""Rate limits for each user and each network address, and a limit on waiting (long-polling) requests of an address."""

from __future__ import annotations

import math
import sys
import threading
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
"""Maximum number of requests of one address that wait for a change at the same time."""

MAX_NAME = 64
"""Largest number of characters of a caller's name that are told apart. Names of users are not longer."""

IPV6_PREFIX = 64
"""Number of leading bits of an IPv6 address that name the network. All addresses of a network count as one address, because
providers assign a whole /64 network to every household."""


class RateLimiter:
    """Limits how many requests are accepted from each user, and from each address, within 60 seconds. Thread-safe.

    The number of requests in the last 60 seconds is estimated from two counts, of the current and of the previous clock minute.
    The count of the previous clock minute is multiplied by the share of that minute that lies in the last 60 seconds. The
    product is rounded down. Therefore, one request above the limit can be accepted at the beginning of a clock minute.
    """

    def __init__(self, per_minute: int) -> None:
        self._item = RateLimitItemPerMinute(per_minute)
        self._storage = MemoryStorage()
        self._limiter = SlidingWindowCounterRateLimiter(self._storage)
        self._lock = threading.Lock()
        self._untold: Counter[tuple[str, str]] | None = None

    def count(self, kind: str, caller: str) -> None:
        """Count a request of a caller, or raise RateError; a refused request is not counted.

        Parameters
        ----------
        kind
            ``user`` or ``address``.
        caller
            Name of the user, or the network address.

        Raises
        ------
        RateError
            The request exceeds the rate limit.
        """
        key = network_key(caller) if kind == "address" else caller
        if not self._limiter.hit(self._item, kind, key):
            left = self._limiter.get_window_stats(self._item, kind, key).reset_time - time.time()
            raise RateError(f"{self._item.amount} requests a minute from one {kind}", math.ceil(max(1.0, left)))
        if self._untold is not None:
            with self._lock:
                self._untold[kind, key] += 1

    def share(self) -> None:
        """From now on, keep for `take_counts` what is counted."""
        self._untold = Counter()

    def take_counts(self) -> Counter[tuple[str, str]]:
        """Return how many requests of each kind and caller were counted since the last call."""
        with self._lock:
            taken, self._untold = self._untold or Counter(), Counter()
        return taken

    def add(self, kind: str, key: str, number: int) -> None:
        """Count requests that another server has accepted, also above the limit, so that together they keep to it in the mean."""
        self._storage.acquire_sliding_window_entry(
            self._item.key_for(kind, key), limit=sys.maxsize, expiry=self._item.get_expiry(), amount=number
        )


class WaitLimiter:
    """Limits the waiting requests of each address in one server process. Use only in the event loop: this class has no lock."""

    def __init__(self, limit: int = MAX_WAITING) -> None:
        self._limit = limit
        self._waiting: Counter[str] = Counter()

    @contextmanager
    def slot(self, address: str) -> Iterator[bool]:
        """Yield True and count a waiting request during the block; yield False, without counting, if the limit is reached."""
        key = network_key(address)
        if self._waiting[key] >= self._limit:
            yield False
            return
        self._waiting[key] += 1
        try:
            yield True
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key]


def network_key(address: str) -> str:
    """Return the key under which the requests of an address are counted.

    The key of an IPv6 address is the network of the address, for the reason given at `IPV6_PREFIX`. The key of any other address
    is the address.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        # The peer has no IP address, as in tests, or a proxy passes on what a client has sent.
        return address[:MAX_NAME]
    if isinstance(parsed, IPv6Address):
        return str(ip_network((parsed, IPV6_PREFIX), strict=False))
    return address

"""Limits for the connections of HTTP clients: deadlines for slow and silent clients, and a maximum number for each address.

uvicorn itself waits without limit for the head of a request, for its body, and for a client to read a response. It also closes
a connection while a rejected body still arrives, so that many clients see a reset connection instead of the response.
"""

from __future__ import annotations

import asyncio
import resource
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.accounts.rate_limits import network_key

if TYPE_CHECKING:
    from collections.abc import Callable

SWEEP_SECONDS = 1.0
"""Seconds between two checks of all connections against their deadlines."""

HEAD_SECONDS = 20.0
"""Seconds for the head of a request to arrive: from its first byte, or from the start of a new connection."""

MAX_HEAD_BYTES = 64 * 1024
"""Largest number of bytes of the head of a request."""

WRITE_SECONDS = 30.0
"""Seconds that a client has to read 48 KiB from a full send buffer. A client that reads 1.6 KiB/s is fast enough."""

CLOSE_SECONDS = 10.0
"""Seconds that a closed connection waits for the client to read the rest of a response."""

DRAIN_SECONDS = 15.0
DRAIN_BYTES = 64 << 20
"""Limits for receiving and dropping the rest of a rejected body: `DRAIN_SECONDS` of time, and `DRAIN_BYTES` bytes.

The client can read the response meanwhile; a connection that was closed at once would be reset."""

MAX_DESCRIPTORS = 65_536
RESERVED_DESCRIPTORS = 512
"""File descriptors that connections never take: for the database, score files, scoring processes and Python itself."""

REQUEST_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
HEAD_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


def raise_descriptor_limit() -> int:
    """Raise the limit of open file descriptors of this process, and return how many connections the server can hold open.

    The limit is raised as far as the system allows, up to `MAX_DESCRIPTORS`. Every connection takes one file descriptor.
    The returned number leaves `RESERVED_DESCRIPTORS` descriptors for other uses, or half of all descriptors if that is fewer.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    available = MAX_DESCRIPTORS if soft == resource.RLIM_INFINITY else min(soft, MAX_DESCRIPTORS)
    return max(available - RESERVED_DESCRIPTORS, available // 2)


class Connections:
    """The open connections of one server, by the address of the client.

    When a new connection exceeds a limit, one connection of one address is closed, possibly the new connection. The parameters
    `per_address` and `total` say which address. Among the connections of this address that have no running request, the
    connection that has been silent for longest is closed. If all connections of this address have a running request, the
    connection of this address that has been silent for longest is closed.

    Parameters
    ----------
    per_address
        Maximum number of connections of one address. Beyond this limit, a connection of the same address is closed.
    total
        Maximum number of all connections. Beyond this limit, a connection of the address with the most connections is closed.
    is_exempt
        Returns whether an address is a trusted proxy, to which `per_address` does not apply.
    """

    def __init__(self, per_address: int, total: int, is_exempt: Callable[[str], bool] = lambda _: False) -> None:
        self._per_address = per_address
        self._total = total
        self._is_exempt = is_exempt
        self._by_address: dict[str, dict[GuardedProtocol, None]] = {}  # of each address, the longest silent first
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return self._count

    def add(self, connection: GuardedProtocol) -> None:
        """Register a new connection; if a limit is exceeded, close one connection."""
        group = self._by_address.setdefault(connection.address, {})
        group[connection] = None
        self._count += 1
        if len(group) > self._per_address and not self._is_exempt(connection.address):
            _longest_silent(group).abort()
        elif self._count > self._total:
            _longest_silent(max(self._by_address.values(), key=len)).abort()
        if self._timer is None:
            self._timer = connection.loop.call_later(SWEEP_SECONDS, self._sweep, connection.loop)

    def touch(self, connection: GuardedProtocol) -> None:
        """Record that a connection has just received bytes, so that others count as silent for longer."""
        group = self._by_address[connection.address]
        del group[connection]
        group[connection] = None

    def remove(self, connection: GuardedProtocol) -> None:
        """Forget a closed connection."""
        group = self._by_address[connection.address]
        del group[connection]
        self._count -= 1
        if not group:
            del self._by_address[connection.address]

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in [connection for group in self._by_address.values() for connection in group]:
            connection.check_deadlines(now)
        self._timer = loop.call_later(SWEEP_SECONDS, self._sweep, loop) if self._count else None


def _longest_silent(group: dict[GuardedProtocol, None]) -> GuardedProtocol:
    """Return the connection that has been silent for longest; if some connections have no running request, choose among these."""
    return next((connection for connection in group if not connection.is_busy), next(iter(group)))


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with the deadlines and limits of this module."""

    def __init__(self, *, connections: Connections, **options: Any) -> None:
        super().__init__(**options)
        self._registry = connections
        self._is_registered = False
        self._head_since: float | None = None
        self._head_bytes = 0
        self._message_is_open = False
        self._paused_since: float | None = None
        self._closing_since: float | None = None
        self._draining_since: float | None = None
        self._drained_bytes = 0
        self._close_after_drain = False

    @property
    def address(self) -> str:
        """The key by which connections are counted: the address of the client, or the network of an IPv6 address."""
        return network_key(self.client[0]) if self.client else "unknown"

    @property
    def is_busy(self) -> bool:
        """Whether a request has arrived completely and its response is not sent completely."""
        return self.cycle is not None and not self.cycle.response_complete and not self._message_is_open

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn declares it
        """Register the connection, and start the deadline for the head of the first request."""
        super().connection_made(_DrainingTransport(transport, self))  # type: ignore[arg-type]  # it delegates to a transport
        self._head_since = self.loop.time()
        self._registry.add(self)
        self._is_registered = True

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the closed connection from the registered connections."""
        super().connection_lost(exc)
        if self._is_registered:
            self._registry.remove(self)
            self._is_registered = False

    def abort(self) -> None:
        """Close the connection at once, without sending what is in the send buffer."""
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Parse received bytes, and close the connection if the client sends too much.

        Too much is a head of more than `MAX_HEAD_BYTES`, or more than `DRAIN_BYTES` of a body that is being dropped.
        """
        self._registry.touch(self)
        if self._draining_since is not None:
            self._drained_bytes += len(data)
            if self._drained_bytes > DRAIN_BYTES:
                self.abort()
                return
        if self._head_since is None and not self._message_is_open:
            self._head_since = self.loop.time()
        super().data_received(data)
        if self._head_since is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self._refuse(HEAD_TOO_LARGE)

    def on_message_begin(self) -> None:
        """Start the deadline for the head of a request."""
        super().on_message_begin()
        self._head_since = self.loop.time()
        self._message_is_open = True

    def on_headers_complete(self) -> None:
        """End the deadline for the head of a request."""
        self._head_since, self._head_bytes = None, 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Record the end of a request, and close the connection if it stayed open only to drop the rest of the body."""
        super().on_message_complete()
        self._message_is_open = False
        if self._draining_since is not None:
            self._draining_since = None
            if self._close_after_drain:
                self.transport.close()

    def on_response_complete(self) -> None:
        """Begin to receive and drop the rest of the body if the response was sent before the end of the request."""
        super().on_response_complete()
        if self._message_is_open:
            self.drain()

    def drain(self) -> None:
        """Begin to receive and drop the rest of the body."""
        if self._draining_since is None:
            self._draining_since, self._drained_bytes = self.loop.time(), 0
            self.flow.resume_reading()

    def drain_before_close(self) -> bool:
        """Begin to drop the rest of the body if the response is complete and the body is not; return whether dropping was begun.

        The transport calls this method before closing. When the rest has been dropped, the transport is closed.
        """
        if self.transport.is_closing() or not self._message_is_open or self._close_after_drain:
            return False
        if self.cycle is None or not self.cycle.response_complete:
            return False
        self._close_after_drain = True
        self.drain()
        return True

    def pause_writing(self) -> None:
        """Start the deadline for the client to read from a full send buffer."""
        super().pause_writing()
        self._paused_since = self.loop.time()

    def resume_writing(self) -> None:
        """End the deadline for the client to read."""
        super().resume_writing()
        self._paused_since = None

    def check_deadlines(self, now: float) -> None:
        """Close the connection if a deadline has passed; `now` is the time of the event loop, in seconds."""
        if self.transport.is_closing():
            if self._closing_since is None:
                self._closing_since = now
            elif now - self._closing_since > CLOSE_SECONDS:
                self.abort()
        elif self._head_since is not None and now - self._head_since > HEAD_SECONDS:
            self._refuse(REQUEST_TIMEOUT if self._head_bytes else b"")
        elif (self._paused_since is not None and now - self._paused_since > WRITE_SECONDS) or (
            self._draining_since is not None and now - self._draining_since > DRAIN_SECONDS
        ):
            self.abort()

    def _refuse(self, response: bytes) -> None:
        if response and (self.cycle is None or self.cycle.response_complete):
            self.transport.write(response)
        self._close_after_drain = True  # nothing else of this request is worth receiving
        self.transport.close()


class _DrainingTransport:
    """A transport that receives and drops the rest of a rejected body before it closes, within the limits of draining."""

    def __init__(self, transport: asyncio.Transport, protocol: GuardedProtocol) -> None:
        self._transport = transport
        self._protocol = protocol

    def close(self) -> None:
        """Close the transport; if the rest of a rejected body is still arriving, first receive and drop the rest."""
        if not self._protocol.drain_before_close():
            self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

"""Messages to the service. An empty message is a heartbeat: it shows that the fork server or a scoring process is not stopped.

A message is its length in four bytes, followed by its content. A message of eight bytes is a heartbeat, too: its content is the
fraction of the work that is done. All other messages are longer. This module uses the standard library only, because it is
imported before any slow import.
"""

from __future__ import annotations

import os
import select
import struct
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BEAT_SECONDS = 1.0
"""Seconds between two heartbeats."""

LATE_BEATS = 5
"""Number of missing heartbeats after which a process counts as late. A busy machine delays heartbeats, too."""

LOST_BEATS = 10
"""Number of missing heartbeats after which a process is killed."""

START_BEATS = 60
"""Number of missing heartbeats after which a process that has never sent a heartbeat is killed. A slow disk delays the start."""

LENGTH = struct.Struct("!I")
"""Format of the length of a message."""

FRACTION = struct.Struct("!d")
"""Format of a heartbeat with the fraction of the work that is done."""

NUMBER = struct.Struct("!i")
"""Format of each number in a status pipe: first the process id of a scoring process, then its exit status."""

MAX_MESSAGE_BYTES = 2**20
"""Largest size of a message, unless the receiver expects a larger one."""

READ_BYTES = 2**20
"""Largest number of bytes that are read at once."""


class HeartbeatError(Exception):
    """A process has missed `LOST_BEATS` heartbeats in a row, or `START_BEATS` heartbeats while the process was starting."""


class LongMessageError(Exception):
    """A process has announced a message that is longer than any message that it may send."""


def send(descriptor: int, message: bytes) -> None:
    """Write a message; an empty message is a heartbeat."""
    rest = memoryview(LENGTH.pack(len(message)) + message)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def beat(descriptor: int, content: bytes = b"") -> None:
    """Send a heartbeat, unless the receiver has closed the connection."""
    with suppress(OSError):
        send(descriptor, content)


@contextmanager
def beating(descriptor: int) -> Iterator[Callable[[float], None]]:
    """Send heartbeats from a thread until the block ends, also while the block runs long computations in compiled code.

    Yields
    ------
    callable
        A function to call with the fraction of the work that is done. Each heartbeat carries the newest fraction.
    """
    ended, content = threading.Event(), b""

    def report(fraction: float) -> None:
        nonlocal content
        content = FRACTION.pack(fraction)

    def keep_beating() -> None:
        while not ended.wait(BEAT_SECONDS):
            beat(descriptor, content)

    thread = threading.Thread(target=keep_beating, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield report
    finally:
        ended.set()
        thread.join()


class Receiver:
    """Receives the messages and heartbeats of one process. Every received byte counts as a heartbeat.

    A heartbeat counts as missing after the receiver has waited `BEAT_SECONDS` for bytes. The receiver does not compare times of
    day, so even a long suspension of the service itself counts as at most one missing heartbeat.

    Parameters
    ----------
    descriptor
        The descriptor to read; the caller closes the descriptor.
    starting
        Whether the process is starting. If so, `START_BEATS` instead of `LOST_BEATS` heartbeats may be missing before its first
        heartbeat.
    late
        Whether the process counts as late until the first heartbeat arrives. True for a process that replaces a killed process.
    """

    def __init__(self, descriptor: int, *, starting: bool = False, late: bool = False) -> None:
        self._descriptor = descriptor
        self._readable = select.poll()  # select.select accepts only descriptors below 1024
        self._readable.register(descriptor, select.POLLIN)
        self._starting = starting
        self.late = late
        """Whether `LATE_BEATS` heartbeats in a row are missing; with the parameter `late`, True until a first byte arrives."""

    def receive(self, report: Callable[[float], object] | None = None, largest: int = MAX_MESSAGE_BYTES) -> bytes:
        """Wait for the next message that is not a heartbeat; return the content of the message.

        Parameters
        ----------
        report
            Function that gets the fraction in a heartbeat if it is in (0, 1]; other numbers are dropped.
        largest
            Largest size of the message in bytes.

        Raises
        ------
        EOFError, OSError
            The process has closed the connection.
        HeartbeatError
            Too many heartbeats are missing.
        LongMessageError
            The message is longer than `largest`. Only its length was read.
        """
        while True:
            (length,) = LENGTH.unpack(self._read(LENGTH.size))
            if length > largest:
                raise LongMessageError
            content = self._read(length)
            if length == FRACTION.size:
                (fraction,) = FRACTION.unpack(content)
                if report is not None and 0 < fraction <= 1:  # false for NaN
                    report(fraction)
            elif length:
                return content

    def _read(self, size: int) -> bytes:
        received = bytearray()
        while len(received) < size:
            self._wait()
            piece = os.read(self._descriptor, min(size - len(received), READ_BYTES))
            if not piece:
                raise EOFError
            received += piece
        return bytes(received)

    def _wait(self) -> None:
        """Wait until the descriptor is readable; count missing heartbeats, and raise HeartbeatError if too many are missing."""
        for missing in range(1, (START_BEATS if self._starting else LOST_BEATS) + 1):
            if self._readable.poll(BEAT_SECONDS * 1000):
                self._starting = self.late = False
                return
            self.late = self.late or missing >= LATE_BEATS
        raise HeartbeatError

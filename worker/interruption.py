"""Handle Ctrl-C: the first press finishes running shards and starts no others, the second stops at once."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")


class Interruption:
    """A context manager: the first SIGINT sets `requested` and calls `notify`, the second raises KeyboardInterrupt."""

    def __init__(self, notify: Callable[[], None]) -> None:
        self.requested = False
        self._notify = notify

    def __enter__(self) -> Self:
        self._previous_handler = signal.signal(signal.SIGINT, self._handle_signal)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._previous_handler)

    def _handle_signal(self, *_: object) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        self._notify()

    def until_requested(self, tasks: Iterable[T]) -> Iterator[T]:
        """Yield tasks until a stop is requested."""
        for task in tasks:
            if self.requested:
                return
            yield task

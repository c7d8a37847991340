"""Handle Ctrl-C. After the first press, only the running shards are finished; the second press stops the training at once."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")


class Interruption:
    """Context that handles SIGINT: the first Ctrl-C sets `requested` and calls `notify`; the second raises KeyboardInterrupt."""

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
        """Yield the given tasks in order, and stop before the next task once `requested` is set."""
        for task in tasks:
            if self.requested:
                return
            yield task

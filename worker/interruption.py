"""Ctrl-C: the first finishes what is being trained and begins nothing new, the second ends at once."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")


class Interruption:
    """While it is entered, the first SIGINT is kept in `asked` and answered by `say`; the second is a KeyboardInterrupt."""

    def __init__(self, say: Callable[[], None]) -> None:
        self.asked = False
        self._say = say

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._answer)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _answer(self, *_: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        self._say()

    def until(self, tasks: Iterable[T]) -> Iterator[T]:
        """Yield tasks as long as nobody asked to stop."""
        for task in tasks:
            if self.asked:
                return
            yield task

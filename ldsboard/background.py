"""Call functions in daemon threads, so that Ctrl-C ends the wait for them at once.

Ctrl-C does not always end a call of the operating system that waits for the network, such as the lookup of a host name. In a
daemon thread, such a call delays neither the main thread nor the end of the process.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Value = TypeVar("Value")

LOOK_SECONDS = 0.2
"""How often the main thread looks for Ctrl-C on systems that do not interrupt a wait for another thread."""


def call(function: Callable[[], Value]) -> Value:
    """Call a function so that Ctrl-C ends the wait, and return the result of the function or raise its exception.

    The main thread calls the function in a daemon thread. Any other thread calls the function itself, because Ctrl-C interrupts
    only the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        return function()
    return call_all([function], 1)[0]


def call_all(functions: Sequence[Callable[[], Value]], threads: int) -> list[Value]:
    """Call functions in at most `threads` daemon threads, and return the results in the order in which the calls end.

    The first exception of a function is raised at once, and so is KeyboardInterrupt. No further function is then called. Calls
    that are running go on; the caller has to end them, for instance by closing the connection that they wait for.
    """
    waiting: SimpleQueue[Callable[[], Value]] = SimpleQueue()
    outcomes: SimpleQueue[Value | _Failure] = SimpleQueue()
    ended = threading.Event()
    for function in functions:
        waiting.put(function)

    def work() -> None:
        with suppress(Empty):
            while not ended.is_set():
                function = waiting.get_nowait()
                try:
                    outcomes.put(function())
                except BaseException as error:  # noqa: BLE001 -- raised again by the thread that waits
                    outcomes.put(_Failure(error))

    for _ in range(min(threads, len(functions))):
        threading.Thread(target=work, daemon=True).start()
    try:
        return [_next(outcomes) for _ in functions]
    finally:
        ended.set()


class _Failure:
    """The exception that a function raised."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


def _next(outcomes: SimpleQueue[Value | _Failure]) -> Value:
    """Wait for the next finished call, and return its result or raise its exception."""
    while True:
        with suppress(Empty):
            outcome = outcomes.get(timeout=LOOK_SECONDS)
            if isinstance(outcome, _Failure):
                raise outcome.error
            return outcome

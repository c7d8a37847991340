"""The progress bars of an upload and of scoring."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

DELAY_SECONDS = 1.0
"""Seconds that scoring takes before its progress bar is shown."""


@contextmanager
def upload_bar(console: Console, name: str, size: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar for an upload of `size` bytes, on a terminal only.

    Yields
    ------
    callable
        A function to call with the number of bytes sent since the last call.
    """
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task(name, total=size)
        yield lambda count: bar.advance(task, count)


@contextmanager
def scoring_bar(console: Console, description: str) -> Iterator[Callable[[float], None] | None]:
    """Show a progress bar if the block takes longer than `DELAY_SECONDS`, on a terminal only; remove the bar at the end.

    Yields
    ------
    callable or None
        A function to call with the fraction that is done. Before its first call, the bar moves without a percentage. None
        without a terminal.
    """
    # `is_interactive` alone is True also for the log of a CI job that sets FORCE_COLOR.
    if not (console.is_interactive and console.file.isatty()):
        yield None
        return
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,  # standard output may be a file
    )
    task = bar.add_task(description, total=None)
    # A timer shows the bar also while the margins are ranked, or a long block is scored.
    timer = threading.Timer(DELAY_SECONDS, bar.start)
    timer.daemon = True
    timer.start()
    try:
        yield lambda fraction: bar.update(task, completed=fraction, total=1.0)
    finally:
        timer.cancel()
        timer.join()  # otherwise the bar could start after its end
        bar.stop()

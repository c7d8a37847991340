"""The progress bar of an upload."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console


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

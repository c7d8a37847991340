"""How far a file has been sent, shown where somebody looks."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console


@contextmanager
def upload_bar(console: Console, name: str, size: int) -> Iterator[Callable[[int], None]]:
    """Show a bar while a file of so many bytes is sent, on a terminal only; yield what tells it of more bytes."""
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

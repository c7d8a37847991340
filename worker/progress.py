"""What a person sees while models train."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from worker.training import Progress


def show(reports: Iterable[Progress], models: int, console: Console) -> None:
    """Draw a bar over the reports of some models: how many are done, models/s, time left, and accuracy so far."""
    columns = (
        TextColumn("training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console) as bar:
        task = bar.add_task("training", total=models, figures="")
        start, done, accuracy_sum = time.monotonic(), 0, 0.0
        for report in reports:
            done += report.models
            accuracy_sum += report.accuracy_sum
            rate = done / (time.monotonic() - start)
            bar.update(task, completed=done, figures=f"{rate:.0f} models/s  accuracy {accuracy_sum / done:.3f}")

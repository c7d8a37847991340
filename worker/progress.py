"""What is told while models train: a bar or lines for a person, and a log in JSON lines beside the shards for programs."""

from __future__ import annotations

import json
import platform
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as Bar

from worker.shards import shard_name
from worker.training import Finished

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from rich.console import Console

    from worker.shards import Shard
    from worker.training import Progress


@dataclass(frozen=True)
class Log:
    """A file of JSON lines that is only ever appended to, whole lines at a time; one for each machine that writes."""

    path: Path

    @classmethod
    def beside(cls, shards: Path) -> Log:
        """Return this machine's log in a folder of shards, which is its owner's alone: it tells of hidden models too."""
        shards.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(shards / f"log-{platform.node() or 'here'}.jsonl")

    def write(self, event: str, **members: Any) -> None:
        """Append what happened, with the time."""
        line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **members})
        with self.path.open("a") as file:
            file.write(line + "\n")


@dataclass
class Tally:
    """How far a training is: all models of the plan, those there before, those that this run is to train and has trained."""

    models: int
    before: int
    accuracy_sum: float
    wanted: int
    trained: int = 0
    start: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, models: int, shards: Sequence[Shard], wanted: int) -> Tally:
        """Count the models of shards that exist."""
        accuracy = {shard.start + k: value for shard in shards for k, value in enumerate(shard.accuracy)}
        return cls(models, len(accuracy), sum(accuracy.values()), wanted)

    def add(self, report: Progress) -> None:
        """Count the models of a report."""
        self.trained += report.models
        self.accuracy_sum += report.accuracy_sum

    @property
    def done(self) -> int:
        """How many models there are by now."""
        return self.before + self.trained

    @property
    def counts(self) -> dict[str, int]:
        """Models done, and all of them."""
        return {"done": self.done, "models": self.models}

    @property
    def accuracy(self) -> float:
        """Mean accuracy of the models that there are; only with at least one."""
        return self.accuracy_sum / self.done

    @property
    def per_second(self) -> float:
        """Models trained in each second since the start."""
        return self.trained / (time.monotonic() - self.start)

    def __str__(self) -> str:
        left = timedelta(seconds=round((self.wanted - self.trained) / self.per_second))
        return f"{self.per_second:.3g} models/s  {left} left  accuracy {self.accuracy:.3f}"


@contextmanager
def _bar(tally: Tally, console: Console) -> Iterator[Bar]:
    columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[figures]}"))
    with Bar(*columns, console=console, disable=not console.is_terminal) as bar:
        bar.add_task("training", total=tally.models, completed=tally.done, figures="")
        yield bar


def show(reports: Iterable[Progress | Finished], tally: Tally, console: Console, log: Log) -> None:
    """Show reports as they come: models done, models/s, time left and accuracy so far; and log every shard.

    On a terminal this is a bar; elsewhere, such as in the output of a batch job, a line for each shard.
    """
    log.write("begun", **tally.counts)
    try:
        with _bar(tally, console) as bar:
            for report in reports:
                if isinstance(report, Finished):
                    log.write("shard", **report._asdict(), **tally.counts, per_second=round(tally.per_second, 3))
                    if not console.is_terminal:
                        name = shard_name(report.start, report.stop)
                        console.print(f"{name}: {tally.done} of {tally.models} models  {tally}", soft_wrap=True)
                else:
                    tally.add(report)
                    bar.update(bar.task_ids[0], completed=tally.done, figures=str(tally))
    except BaseException as error:
        log.write("failed", error=type(error).__name__, **tally.counts)
        raise
    log.write("ended", **tally.counts)

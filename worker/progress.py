"""Show the progress of a training as a bar or lines for people, and log it as JSON lines for programs."""

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

from worker.reports import Finished, NodeLost
from worker.shards import shard_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from rich.console import Console

    from worker.reports import Progress, Report
    from worker.shards import Shard


@dataclass(frozen=True)
class Log:
    """An append-only file of JSON lines. Each machine has its own file and writes whole lines."""

    path: Path

    @classmethod
    def in_folder(cls, shards: Path) -> Log:
        """Return this machine's log in a folder of shards; create the folder if it is missing.

        Only its owner can read the created folder, because the log reports on models of hidden subsets.
        """
        shards.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(shards / f"log-{platform.node() or 'here'}.jsonl")

    def write(self, event: str, **members: Any) -> None:
        """Append one line, a JSON object: the current time, the name of the event, and `members` as further keys and values."""
        line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **members})
        with self.path.open("a") as file:
            file.write(line + "\n")


@dataclass
class Tally:
    """Counts of trained models, the sum of their accuracies, and the time at which the command started.

    Attributes
    ----------
    models
        Number of models in the plan.
    before
        Number of models that were trained before this command.
    accuracy_sum
        Sum of the accuracies of all trained models.
    wanted, trained
        Number of models that this command is to train; number of models that this command has trained so far.
    start
        Monotonic time at the start of the command, in seconds.
    """

    models: int
    before: int
    accuracy_sum: float
    wanted: int
    trained: int = 0
    start: float = field(default_factory=time.monotonic)

    @classmethod
    def of(cls, models: int, shards: Sequence[Shard], wanted: int) -> Tally:
        """Create the counts at the start of a command, from the existing shards."""
        accuracy = {shard.start + k: value for shard in shards for k, value in enumerate(shard.accuracy)}
        return cls(models, len(accuracy), sum(accuracy.values()), wanted)

    def add(self, report: Progress) -> None:
        """Count the models of a report as trained."""
        self.trained += report.models
        self.accuracy_sum += report.accuracy_sum

    @property
    def done(self) -> int:
        """Number of models trained so far, by this command and before."""
        return self.before + self.trained

    @property
    def counts(self) -> dict[str, int]:
        """Members of every log line: ``done``, the number of trained models, and ``models``, the number of models in the plan."""
        return {"done": self.done, "models": self.models}

    @property
    def accuracy(self) -> float:
        """Mean accuracy of the trained models, of which there must be at least one."""
        return self.accuracy_sum / self.done

    @property
    def per_second(self) -> float:
        """Number of models that this command has trained per second."""
        return self.trained / (time.monotonic() - self.start)

    def __str__(self) -> str:
        left = timedelta(seconds=round((self.wanted - self.trained) / self.per_second))
        return f"{self.per_second:.3g} models/s, {left} left, mean accuracy {self.accuracy:.3f}"


@contextmanager
def _bar(tally: Tally, console: Console) -> Iterator[Bar]:
    columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[figures]}"))
    with Bar(*columns, console=console, disable=not console.is_terminal) as bar:
        bar.add_task("training", total=tally.models, completed=tally.done, figures="")
        yield bar


def show_progress(reports: Iterable[Report], tally: Tally, console: Console, log: Log) -> None:
    """Consume all reports of a training, show the progress after each, and log the start, every shard, and the end or failure.

    A terminal shows a bar, and any other output, such as the file of a batch job, gets one line for each shard. Bar and lines
    give the number of trained models, models/s, the time left and the mean accuracy. A lost node is shown and logged, too.
    """
    log.write("begun", **tally.counts)
    try:
        with _bar(tally, console) as bar:
            for report in reports:
                if isinstance(report, Finished):
                    log.write("shard", **report._asdict(), **tally.counts, per_second=round(tally.per_second, 3))
                    if not console.is_terminal:
                        name = shard_name(report.start, report.stop)
                        console.print(f"{name}: {tally.done} of {tally.models} models, {tally}", soft_wrap=True)
                elif isinstance(report, NodeLost):
                    log.write("lost", **report._asdict(), **tally.counts)
                    console.print(str(report), soft_wrap=True)
                else:
                    tally.add(report)
                    bar.update(bar.task_ids[0], completed=tally.done, figures=str(tally))
    except BaseException as error:
        log.write("failed", error=type(error).__name__, **tally.counts)
        raise
    log.write("ended", **tally.counts)

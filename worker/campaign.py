"""A training folder brought to its end: what is missing is found, handed out, shown and logged, until it is there or Ctrl-C."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from worker import device
from worker.interruption import Interruption
from worker.memory import OutOfMemory
from worker.plan import CONFIGURATION, ConfigurationError
from worker.progress import Log, Tally, show
from worker.shards import cut, missing, read_all, stretches
from worker.training import begin

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from pathlib import Path

    from rich.console import Console

    from worker.models import Recipe
    from worker.plan import Plan
    from worker.training import Finished, Job, Progress

    Trainers = Callable[[Job, Iterable[range]], Generator[Progress | Finished]]
    """What trains the shards of a job, side by side, and reports on them."""


class Outcome(NamedTuple):
    """How a campaign ended: the numbers of the models that are missing, how many it set out to train, whether by Ctrl-C."""

    absent: set[int]
    models: int
    interrupted: bool


@dataclass(frozen=True)
class Campaign:
    """What to train of a plan, where, and with which trainers.

    Attributes
    ----------
    shard_size
        Models in a shard; None for about a hundred, in whole groups.
    shards
        Only these, as ``a-b`` from 0, both included; all when empty.
    kind
        Of device (`worker.device.KINDS`).
    """

    folder: Path
    load: Callable[[str], Recipe]
    trainers: Trainers
    console: Console
    shard_size: int | None = None
    shards: str = ""
    kind: str = device.CPU

    def train(self, plan: Plan, hidden_seed: str | None = None) -> Outcome:
        """Train what is missing; with fewer models at once, should memory run out before the first shard is written.

        Raises
        ------
        ConfigurationError, ShardError
            The options do not fit each other, or not the folder.
        OutOfMemory
            Memory ran out, and other shards hold models that trained in groups of this size.
        """
        while True:
            try:
                return self._train(plan, hidden_seed)
            except OutOfMemory as shortage:
                # Others may train other shards of this folder at this moment: what they do must not change under them.
                if shortage.fits is None or self.shards or any((self.folder / "shards").glob("models-*.npz")):
                    raise
                self.console.print(f"{shortage} No shard is written yet: again, with {shortage.fits}.", soft_wrap=True)
                (self.folder / CONFIGURATION).unlink()
                plan = replace(plan, group=shortage.fits)

    def _train(self, plan: Plan, hidden_seed: str | None) -> Outcome:
        every = cut(len(plan.models), self.shard_size or _about_a_hundred(plan.group), plan.group)
        wanted = every[_shard_range(self.shards, len(every))]
        job, configuration = begin(plan, self.folder, self.load, hidden_seed, self.kind)
        folder = self.folder / "shards"
        there = read_all(folder, configuration.digest)
        absent = missing(there, len(plan.models))
        # Shards there may be of another size: what is trained is what they lack, which is whole groups.
        todo = [stretch for shard in wanted for stretch in stretches(absent.intersection(shard))]
        models = sum(map(len, todo))
        if not todo:
            return Outcome(absent, 0, interrupted=False)
        with (
            Interruption(self._answer_interrupt) as interruption,
            closing(self.trainers(job, interruption.until(todo))) as reports,
        ):
            self.console.print(f"{plan.recipe}: {models} of {len(plan.models)} models to train")
            show(reports, Tally.of(len(plan.models), there, models), self.console, Log.beside(folder))
        absent = missing(read_all(folder, configuration.digest), len(plan.models))
        return Outcome(absent, models, interruption.asked)

    def _answer_interrupt(self) -> None:
        text = "Finishing the shards that are being trained. Ctrl-C again ends at once and loses them."
        self.console.print(text, soft_wrap=True)


def _about_a_hundred(group: int) -> int:
    return group * max(1, round(100 / group))


def _shard_range(text: str, count: int) -> slice:
    if not text:
        return slice(None)
    first, _, last = text.partition("-")
    if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last) < count):
        raise ConfigurationError(f"expected shards as a-b with a <= b < {count}, got {text!r}")
    return slice(int(first), int(last) + 1)

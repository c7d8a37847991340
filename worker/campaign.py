"""Train the missing models of a training folder, or of some of its shards, with progress and log, until done or Ctrl-C."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from ldsboard.counts import count
from ldsboard.retraining import device
from worker.interruption import Interruption
from worker.memory import OutOfMemory
from worker.plan import CONFIGURATION, ConfigurationError
from worker.progress import Log, Tally, show_progress
from worker.shards import consecutive_ranges, missing_models, read_shards, split_into_shards
from worker.training import prepare_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from pathlib import Path

    from rich.console import Console

    from ldsboard.retraining.recipe import Recipe
    from worker.plan import Plan
    from worker.reports import Report
    from worker.training import Job

    ShardTrainer = Callable[[Job, Iterable[range]], Generator[Report]]
    """A function that trains shards of a job in parallel and yields reports on them."""


class Outcome(NamedTuple):
    """Result of a campaign.

    Attributes
    ----------
    missing
        Numbers of the models that are still not trained.
    attempted
        Number of models that the campaign had to train: those of the selected shards that were not trained at the start.
    interrupted
        Whether Ctrl-C stopped the campaign.
    """

    missing: set[int]
    attempted: int
    interrupted: bool


@dataclass(frozen=True)
class Campaign:
    """The training of a plan in one folder.

    Attributes
    ----------
    folder
        The training folder.
    load
        Loads a recipe by name or path.
    train_shards
        Trains and writes shards, and yields reports.
    console
        Where progress and messages are printed.
    shard_size
        Number of models in a shard, a multiple of the group size; None: about a hundred.
    shards
        The selected shards as ``a-b``, numbered from 0, with shard b included; empty: all shards.
    kind
        Kind of device (`ldsboard.retraining.device.KINDS`).
    """

    folder: Path
    load: Callable[[str], Recipe]
    train_shards: ShardTrainer
    console: Console
    shard_size: int | None = None
    shards: str = ""
    kind: str = device.CPU

    def train(self, plan: Plan, hidden_seed: str | None = None) -> Outcome:
        """Train the missing models of the selected shards, and write the shards.

        If memory runs out before any shard is written, delete the folder's configuration and retry with a smaller group, unless
        only selected shards are trained.

        Raises
        ------
        ConfigurationError, ShardError
            The options contradict each other or the folder.
        OutOfMemory
            Memory ran out, and a smaller group is impossible: the group holds one model, a shard is already written, or only
            selected shards are trained.
        DataError
            The data set of the recipe cannot be loaded.
        ProcessError
            A training process or task failed or was lost.
        """
        while True:
            try:
                return self._train(plan, hidden_seed)
            except OutOfMemory as error:
                # With `shards`, other machines can be training in this folder, so the folder's configuration must not change.
                if error.smaller_group is None or self.shards or any((self.folder / "shards").glob("models-*.npz")):
                    raise
                text = (
                    f"{error} No shard is written yet: trying again with {count(error.smaller_group, 'model')} at once."
                )
                self.console.print(text, soft_wrap=True)
                (self.folder / CONFIGURATION).unlink()
                plan = replace(plan, group=error.smaller_group)

    def _train(self, plan: Plan, hidden_seed: str | None) -> Outcome:
        shards = split_into_shards(len(plan.models), self.shard_size or _default_shard_size(plan.group), plan.group)
        selected = shards[_parse_shard_range(self.shards, len(shards))]
        job, configuration = prepare_folder(plan, self.folder, self.load, hidden_seed, self.kind)
        folder = self.folder / "shards"
        existing = read_shards(folder, configuration.digest)
        missing = missing_models(existing, len(plan.models))
        # Existing shards can have another size, so train only the models that no shard holds; these models form whole groups.
        ranges_to_train = [part for shard in selected for part in consecutive_ranges(missing.intersection(shard))]
        models = sum(map(len, ranges_to_train))
        if not ranges_to_train:
            return Outcome(missing, 0, interrupted=False)
        with (
            Interruption(self._announce_stop) as interruption,
            closing(self.train_shards(job, interruption.until_requested(ranges_to_train))) as reports,
        ):
            self.console.print(f"{plan.recipe}: {models} of {len(plan.models)} models to train")
            show_progress(reports, Tally.of(len(plan.models), existing, models), self.console, Log.in_folder(folder))
        missing = missing_models(read_shards(folder, configuration.digest), len(plan.models))
        return Outcome(missing, models, interruption.requested)

    def _announce_stop(self) -> None:
        text = "Finishing the running shards. Press Ctrl-C again to stop at once and lose them."
        self.console.print(text, soft_wrap=True)


def _default_shard_size(group: int) -> int:
    return group * max(1, round(100 / group))


def _parse_shard_range(text: str, shards: int) -> slice:
    if not text:
        return slice(None)
    first, _, last = text.partition("-")
    if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last) < shards):
        raise ConfigurationError(f"expected shards as a-b with a <= b < {shards}, got {text!r}")
    return slice(int(first), int(last) + 1)

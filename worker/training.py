"""Train the models with given numbers and compute their margins, in this process or, shard by shard, in several processes.

The subset, initialisation, order and augmentation of each model have seeds of their own (`ldsboard.subsets.generator`), so no
random choice for a model depends on where, when or with which other models the model trains.

Legend: K models of a group, n examples, d inputs, E epochs, m examples of a subset, N targets, C classes.
`a` is how many numbers describe the augmentation of an example.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from ldsboard.arrays.masks import count_duplicates
from ldsboard.retraining import device, processes
from ldsboard.retraining.engines import check_engine
from ldsboard.retraining.trainer import REFERENCE_SUBSET, Examples, GroupTrainer
from ldsboard.subsets import draw_masks, subset_size
from worker import data as datasets
from worker.memory import OutOfMemory, is_out_of_memory
from worker.plan import HIDDEN, Configuration, ConfigurationError, HiddenSeed, Plan
from worker.reports import Finished, MemoryExhausted, Progress
from worker.same_steps import SEQUENTIAL, require_same_steps
from worker.shards import Shard

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from ldsboard.retraining.recipe import Recipe
    from worker.data import Dataset
    from worker.reports import ProcessReport


class Margins(NamedTuple):
    """Results of a group of models on the targets: margins, float32 (K, N); accuracy and cross-entropy, float64 (K,) each."""

    margins_KN: NDArray[np.float32]
    accuracy_K: NDArray[np.float64]
    loss_K: NDArray[np.float64]


class Trainer(GroupTrainer):
    """Trains models of a plan in this process. Creating a trainer limits the process to one thread, and draws all subsets."""

    def __init__(
        self, plan: Plan, recipe: Recipe, data: Dataset, hidden: HiddenSeed | None, kind: str = device.CPU
    ) -> None:
        # The process that gathers needs one thread too: more threads would change bits.
        train, target = (Examples(part.images, part.labels) for part in (data.train, data.target))
        super().__init__(recipe, plan.engine, train, target, kind)
        self.data = data
        self.configuration = Configuration.of(plan, recipe, data, hidden, kind)
        self.plan = plan
        self.root_seeds = _root_seeds(plan, hidden)
        self.masks = _draw_masks(self.root_seeds, plan, len(data.train.labels), recipe.ALPHA)
        self.models = plan.models

    def train_group(self, numbers: Sequence[int]) -> Margins:
        """Train the models with these numbers as one group; return their results."""
        return self.evaluate(self.train(*self.seeds_and_subsets(numbers)))

    def seeds_and_subsets(self, numbers: Sequence[int]) -> tuple[list[tuple[int, int, int]], list[NDArray[np.integer]]]:
        """Return the seed (root, subset, run) of each model in `numbers`, and the example indices of each model's subset."""
        chosen = [self.models[number] for number in numbers]
        seeds = [(self.root_seeds[model.part], model.subset, model.run) for model in chosen]
        return seeds, [np.flatnonzero(self.masks[model.part][model.subset]) for model in chosen]

    def train(self, seeds: Sequence[tuple[int, int, int]], examples: Sequence[NDArray[np.integer]]) -> list[nn.Module]:
        """Train and return one model for each seed (root, subset, run) and its array of indices; all arrays have equal length."""
        return self.train_models(seeds, [self.order(*each) for each in zip(seeds, examples, strict=True)])

    def initialise_models(
        self, seeds: Sequence[tuple[int, int, int]], examples: Sequence[NDArray[np.integer]]
    ) -> tuple[list[nn.Module], torch.Tensor]:
        """Return initialised models, and their stacked orders (K, E, m) or visits (K, E, m, 1 + a), int64, on the device."""
        orders = [self.order(*each) for each in zip(seeds, examples, strict=True)]
        return [self.initialise(seed) for seed in seeds], torch.stack(orders).to(self.torch_device)

    def require_same_steps(self) -> None:
        """Raise ConfigurationError if two steps of the plan's engine differ from those of the recipe's own loop."""
        few_m = np.arange(min(8, len(self.labels_n)))
        models, order_KEm = self.initialise_models([(self.plan.public_seed, 0, run) for run in range(2)], [few_m] * 2)
        require_same_steps(self.plan.engine, self.recipe, models, self.inputs_nd, self.labels_n, order_KEm[:, :2])

    def first_steps(self, order_KEm: torch.Tensor, steps: int) -> torch.Tensor:
        """Return the part of a group's orders (or visits) that the first `steps` steps of the first epoch use."""
        return order_KEm[:, :1, : steps * self.recipe.SETTINGS.batch_size]

    def train_references(self, count: int) -> list[nn.Module]:
        """Train `count` reference models on all examples, as one group, with the public seeds ``[root, REFERENCE_SUBSET, i]``."""
        seeds = [(self.plan.public_seed, REFERENCE_SUBSET, run) for run in range(count)]
        return self.train(seeds, [np.arange(len(self.labels_n))] * count)

    def evaluate(self, models: Sequence[nn.Module]) -> Margins:
        """Return the margins, accuracies and losses of trained models on the targets; leave the models in evaluation mode."""
        margins_KN, losses_KN, correct_KN = self.outputs(models)
        accuracy_K, loss_K = correct_KN.double().mean(1), losses_KN.double().mean(1)
        return Margins(margins_KN.float().cpu().numpy(), accuracy_K.cpu().numpy(), loss_K.cpu().numpy())

    def train_shard(self, numbers: range) -> Iterator[Margins | Shard]:
        """Train the models with these numbers. Yield the results of each group, and at the end the shard of all results."""
        start, groups = time.process_time(), []
        for first in range(numbers.start, numbers.stop, self.plan.group):
            groups.append(self.train_group(range(first, min(first + self.plan.group, numbers.stop))))
            yield groups[-1]
        margins, accuracy, loss = (np.concatenate(values) for values in zip(*groups, strict=True))
        models = np.array([self.models[number] for number in numbers])
        yield Shard(numbers.start, numbers.stop, models, margins, accuracy, loss, time.process_time() - start)


@dataclass(frozen=True)
class Job:
    """Everything that a training process needs; it is pickled for the process.

    `load` loads the recipe by name, since a module cannot be pickled. The data set is pickled, since some data sets load slowly.
    """

    plan: Plan
    folder: Path
    load: Callable[[str], Recipe]
    data: Dataset
    hidden: HiddenSeed | None
    kind: str = device.CPU

    def trainer(self) -> Trainer:
        """Create the trainer that trains the models of this job."""
        return Trainer(self.plan, self.load(self.plan.recipe), self.data, self.hidden, self.kind)

    def prepare(self) -> Callable[[range], Iterator[ProcessReport]]:
        """Create a trainer; return a function that trains and writes a shard, with a report after each group and at the end."""
        trainer = self.trainer()

        def work(numbers: range) -> Iterator[ProcessReport]:
            try:
                for outcome in trainer.train_shard(numbers):
                    if isinstance(outcome, Shard):
                        outcome.write(self.folder / "shards", trainer.configuration.digest)
                        yield Finished.of(outcome)
                    else:
                        yield Progress(len(outcome.accuracy_K), float(outcome.accuracy_K.sum()))
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                yield MemoryExhausted(first_line(error))

        return work


def prepare_folder(
    plan: Plan, folder: Path, load: Callable[[str], Recipe], hidden_seed: str | None = None, kind: str = device.CPU
) -> tuple[Job, Configuration]:
    """Save configuration and any hidden seed in a new folder, or check those of a started folder; return job and configuration.

    Raises
    ------
    DataError
        The data set of the recipe cannot be loaded. In this case, nothing has been written.
    ConfigurationError
        The engine cannot train the recipe as its own loop does, the folder has another configuration, the hidden seed is wrong or
        given for an open benchmark, or the training examples or `ALPHA` do not allow so many different subsets.
    """
    recipe = load(plan.recipe)
    if plan.split == "open" and hidden_seed is not None:
        raise ConfigurationError(
            "An open benchmark has no hidden seed: all of its subsets are public. Leave the hidden seed out."
        )
    if plan.split == "open" and (folder / HIDDEN).exists():
        raise ConfigurationError(f"An open benchmark must not have the file {folder / HIDDEN}. Choose another folder.")
    data = datasets.load(recipe.DATASET)
    try:
        check_engine(plan.engine, recipe)
    except TypeError as error:
        raise ConfigurationError(str(error)) from error
    if plan.engine != SEQUENTIAL:
        Trainer(replace(plan, split="open"), recipe, data, None, kind).require_same_steps()  # needs no hidden seed
    hidden = HiddenSeed.read_or_create(folder, hidden_seed, plan.public_seed) if plan.split == "protected" else None
    folder.mkdir(parents=True, exist_ok=True)
    configuration = Configuration.of(plan, recipe, data, hidden, kind)
    _check_subsets_differ(_draw_masks(_root_seeds(plan, hidden), plan, len(data.train.labels), recipe.ALPHA))
    configuration.save_or_check(folder)
    return Job(plan, folder, load, data, hidden, kind), configuration


def _root_seeds(plan: Plan, hidden: HiddenSeed | None) -> dict[str, int]:
    """Return the root seed of each part of the benchmark."""
    return {"public": plan.public_seed} | ({"hidden": hidden.seed} if hidden else {})


def _draw_masks(root_seeds: Mapping[str, int], plan: Plan, n: int, alpha: float) -> dict[str, NDArray[np.bool_]]:
    """Draw the subsets of each part of the benchmark, bool (M, n)."""
    if not 0 < subset_size(alpha, n) < n:
        raise ConfigurationError(
            f"With ALPHA = {alpha}, each subset would hold all or none of the {n} examples. Choose another ALPHA."
        )
    return {part: draw_masks(root_seeds[part], count, n, alpha) for part, count in plan.subsets.items()}


def _check_subsets_differ(masks: Mapping[str, NDArray[np.bool_]]) -> None:
    """Raise ConfigurationError if a subset is repeated, since a benchmark must not contain repeated subsets."""
    every_Mn = np.concatenate(list(masks.values()))
    if repeated := count_duplicates(every_Mn):
        raise ConfigurationError(
            f"expected {len(every_Mn)} different subsets of the {every_Mn.shape[1]} training examples, "
            f"got {repeated} repeated subsets. Choose fewer subsets or more training examples."
        )


def train(job: Job, shards: Iterable[range], count: int) -> Generator[Progress | Finished]:
    """Train and write shards in `count` processes, and yield the reports of these processes.

    Raises
    ------
    OutOfMemory
        The models of a group need more memory than the device has.
    ProcessError
        A process failed or was killed.
    """
    with closing(processes.run(job.prepare, shards, count)) as reports:
        for report in reports:
            if isinstance(report, MemoryExhausted):
                raise OutOfMemory(job.plan.group, report.reason)
            yield report


def first_line(error: BaseException) -> str:
    """Return the first line of an error message, without its final full stop."""
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")

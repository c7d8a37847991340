"""Training: from a model's number to its margins, alone or in shards over several processes.

Everything a model is made from, its subset, initialisation and order, is drawn from counter-based seeds
(`ldsboard.subsets.generator`), so it does not matter where or when it trains.

Legend: K models of a group, n examples, m examples of a subset, N targets, C classes.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from ldsboard.masks import count_duplicates
from ldsboard.subsets import AUGMENTATION, INITIALISATION, ORDER, draw_masks, generator, subset_size
from worker import data as datasets
from worker import device, processes
from worker.engines import ENGINES, expect_fitting
from worker.memory import OutOfMemory, is_exhausted
from worker.models import Augmenting
from worker.plan import HIDDEN, Configuration, ConfigurationError, HiddenSeed, Plan
from worker.shards import Shard

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import nn

    from worker.data import Dataset
    from worker.models import Recipe

REFERENCE_SUBSET = 2**32 - 1
"""The subset number in the seeds of the reference models, which train on all examples; no subset ever has it."""


class Margins(NamedTuple):
    """What a group of models gave: margins float32 (K, N); accuracy and cross-entropy on the targets, float64 (K,)."""

    margins_KN: NDArray[np.float32]
    accuracy_K: NDArray[np.float64]
    loss_K: NDArray[np.float64]


class Progress(NamedTuple):
    """A report from a training process: how many models were trained, and the sum of their accuracies."""

    models: int
    accuracy_sum: float


class Finished(NamedTuple):
    """A report that a shard is written.

    Attributes
    ----------
    start, stop
        Numbers of its first model, and of the one after its last.
    accuracy, seconds
        Mean accuracy, and processor time.
    where
        Which machine of a cluster trained it; empty for this one.
    """

    start: int
    stop: int
    accuracy: float
    seconds: float
    where: str = ""


class Exhausted(NamedTuple):
    """A report that memory ran out, and the words in which that was said."""

    reason: str


Report = Progress | Finished | Exhausted


class Trainer:
    """Trains any model of a plan, in this process."""

    def __init__(
        self, plan: Plan, recipe: Recipe, data: Dataset, hidden: HiddenSeed | None, kind: str = device.CPU
    ) -> None:
        device.use_one_thread()  # whoever trains, the process that gathers included: more would change bits
        self.place = device.place(kind)
        self.recipe = recipe
        self.augmenting = recipe if isinstance(recipe, Augmenting) else None
        self.engine = ENGINES[plan.engine]
        self.data = data
        self.inputs_nd, self.target_inputs = (
            recipe.inputs(part.images).to(self.place) for part in (data.train, data.target)
        )
        self.labels_n, self.target_labels = (
            torch.from_numpy(part.labels).to(self.place) for part in (data.train, data.target)
        )
        self.configuration = Configuration.of(plan, recipe, data, hidden, kind)
        self.plan = plan
        self.roots = _roots(plan, hidden)
        self.masks = _masks(self.roots, plan, len(data.train.labels), recipe.ALPHA)
        self.models = plan.models

    def train_group(self, numbers: Sequence[int]) -> Margins:
        """Train the models of these numbers together."""
        return self.evaluate(self.train(*self.drawn(numbers)))

    def drawn(self, numbers: Sequence[int]) -> tuple[list[tuple[int, int, int]], list[NDArray[np.integer]]]:
        """Return the seeds (root, subset, run) of the models of these numbers, and the examples of their subsets."""
        chosen = [self.models[number] for number in numbers]
        seeds = [(self.roots[model.part], model.subset, model.run) for model in chosen]
        return seeds, [np.flatnonzero(self.masks[model.part][model.subset]) for model in chosen]

    def train(self, seeds: Sequence[tuple[int, int, int]], examples: Sequence[NDArray[np.integer]]) -> list[nn.Module]:
        """Train a group of models, each from its own seed (root, subset, run) on its own examples, of equal number."""
        models, order_KEm = self.begin(seeds, examples)
        self.engine(self.recipe, models, self.inputs_nd, self.labels_n, order_KEm)
        return models

    def begin(
        self, seeds: Sequence[tuple[int, int, int]], examples: Sequence[NDArray[np.integer]]
    ) -> tuple[list[nn.Module], torch.Tensor]:
        """Return a group of initialised models and what each will visit, int64 (K, E, m) or (K, E, m, 1 + a), on the device."""
        models = []
        for seed in seeds:
            model = self.recipe.build()
            self.recipe.initialise(model, generator(*seed, INITIALISATION))
            models.append(model if self.place.type == device.CPU else model.to(self.place))  # which asks every module
        order_KEm = torch.stack([self.order(*each) for each in zip(seeds, examples, strict=True)])
        return models, order_KEm.to(self.place)

    def order(self, seed: tuple[int, int, int], index_m: NDArray[np.integer]) -> torch.Tensor:
        """Draw what a model visits: int64 (E, m), or (E, m, 1 + a) with how its examples are altered."""
        order_Em = self.recipe.order(generator(*seed, ORDER), index_m)
        if self.augmenting is None:
            return order_Em
        return self.augmenting.visits(generator(*seed, AUGMENTATION), order_Em)

    def first_steps(self, order_KEm: torch.Tensor, steps: int) -> torch.Tensor:
        """Return the part of an order that its first steps are, all within one epoch."""
        return order_KEm[:, :1, : steps * self.recipe.SETTINGS.batch_size]

    def train_references(self, count: int) -> list[nn.Module]:
        """Train the reference models: on all examples, with public seeds ``[root, REFERENCE_SUBSET, i]``."""
        seeds = [(self.plan.public_seed, REFERENCE_SUBSET, run) for run in range(count)]
        return self.train(seeds, [np.arange(len(self.labels_n))] * count)

    @torch.no_grad()
    def evaluate(self, models: Sequence[nn.Module]) -> Margins:
        """Return what models give on the targets."""
        logits_KNC = torch.stack([model.eval()(self.target_inputs) for model in models])
        labels_KN = self.target_labels.expand(logits_KNC.shape[:2])
        margins_KN = self.recipe.output(logits_KNC, labels_KN)
        accuracy_K = (logits_KNC.argmax(2) == labels_KN).double().mean(1)
        loss_KN = logits_KNC.logsumexp(2) - logits_KNC.gather(2, labels_KN.unsqueeze(2)).squeeze(2)
        loss_K = loss_KN.double().mean(1)
        return Margins(margins_KN.float().cpu().numpy(), accuracy_K.cpu().numpy(), loss_K.cpu().numpy())

    def train_shard(self, numbers: range) -> Iterator[Margins | Shard]:
        """Train a shard; yield what every group gave, and at the end the shard."""
        start, groups = time.process_time(), []
        for first in range(numbers.start, numbers.stop, self.plan.group):
            groups.append(self.train_group(range(first, min(first + self.plan.group, numbers.stop))))
            yield groups[-1]
        margins, accuracy, loss = (np.concatenate(values) for values in zip(*groups, strict=True))
        models = np.array([self.models[number] for number in numbers])
        yield Shard(numbers.start, numbers.stop, models, margins, accuracy, loss, time.process_time() - start)


@dataclass(frozen=True)
class Job:
    """What a training process needs to know; it is pickled to it.

    `load` finds a recipe by name, since a module cannot be pickled. The data can, and some take long to load.
    """

    plan: Plan
    folder: Path
    load: Callable[[str], Recipe]
    data: Dataset
    hidden: HiddenSeed | None
    kind: str = device.CPU

    def trainer(self) -> Trainer:
        """Make the trainer of this job."""
        return Trainer(self.plan, self.load(self.plan.recipe), self.data, self.hidden, self.kind)

    def prepare(self) -> Callable[[range], Iterator[Report]]:
        """Return the function that trains and writes a shard, and reports on it group by group, then on the whole."""
        trainer = self.trainer()

        def work(numbers: range) -> Iterator[Report]:
            try:
                for outcome in trainer.train_shard(numbers):
                    if isinstance(outcome, Shard):
                        outcome.write(self.folder / "shards", trainer.configuration.digest)
                        yield finished(outcome)
                    else:
                        yield Progress(len(outcome.accuracy_K), float(outcome.accuracy_K.sum()))
            except (MemoryError, RuntimeError) as error:
                if not is_exhausted(error):
                    raise
                yield Exhausted(first_line(error))

        return work


def begin(
    plan: Plan,
    folder: Path,
    load: Callable[[str], Recipe],
    hidden_seed: str | None = None,
    kind: str = device.CPU,
) -> tuple[Job, Configuration]:
    """Begin or continue a training folder: obtain its hidden seed, and write or check its configuration.

    Raises
    ------
    DataError
        The recipe's data cannot be had; nothing is written then.
    ConfigurationError
        The engine cannot train the recipe, the folder was begun with another configuration, the hidden seed does not fit, or
        there are too few examples to draw so many different subsets from.
    """
    recipe = load(plan.recipe)
    if plan.split == "open" and hidden_seed is not None:
        raise ConfigurationError("expected no hidden seed for an open benchmark: all of its subsets are public")
    if plan.split == "open" and (folder / HIDDEN).exists():
        raise ConfigurationError(f"expected no {folder / HIDDEN} beside an open benchmark. Choose another folder.")
    data = datasets.load(recipe.DATASET)
    try:
        expect_fitting(plan.engine, recipe)
    except TypeError as error:
        raise ConfigurationError(str(error)) from error
    hidden = HiddenSeed.obtain(folder, hidden_seed, plan.public_seed) if plan.split == "protected" else None
    folder.mkdir(parents=True, exist_ok=True)
    configuration = Configuration.of(plan, recipe, data, hidden, kind)
    _expect_different(_masks(_roots(plan, hidden), plan, len(data.train.labels), recipe.ALPHA))
    configuration.keep(folder)
    return Job(plan, folder, load, data, hidden, kind), configuration


def _roots(plan: Plan, hidden: HiddenSeed | None) -> dict[str, int]:
    """Return the root seed of every part."""
    return {"public": plan.public_seed} | ({"hidden": hidden.seed} if hidden else {})


def _masks(roots: Mapping[str, int], plan: Plan, n: int, alpha: float) -> dict[str, NDArray[np.bool_]]:
    """Draw the subsets of every part, bool (M, n)."""
    if not 0 < subset_size(alpha, n) < n:
        raise ConfigurationError(f"expected an ALPHA that leaves some of {n} examples in and some out, got {alpha}")
    return {part: draw_masks(roots[part], count, n, alpha) for part, count in plan.subsets.items()}


def _expect_different(masks: Mapping[str, NDArray[np.bool_]]) -> None:
    """Refuse subsets that repeat, which no benchmark may hold: before they are trained."""
    every_Mn = np.concatenate(list(masks.values()))
    if repeated := count_duplicates(every_Mn):
        raise ConfigurationError(
            f"expected {len(every_Mn)} different subsets of {every_Mn.shape[1]} examples, got {repeated} that repeat another. "
            "Take fewer subsets, or more examples."
        )


def train(job: Job, shards: Iterable[range], count: int) -> Generator[Progress | Finished]:
    """Train shards over a number of processes, and yield their reports.

    Raises
    ------
    OutOfMemory
        The models that train together need more than there is.
    ProcessError
        A process failed or was killed.
    """
    with closing(processes.run(job.prepare, shards, count)) as reports:
        for report in reports:
            if isinstance(report, Exhausted):
                raise OutOfMemory(job.plan.group, report.reason)
            yield report


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, without its last full stop."""
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")


def finished(shard: Shard, where: str = "") -> Finished:
    """Return the report on a shard that was written."""
    return Finished(shard.start, shard.stop, round(float(shard.accuracy.mean()), 4), round(shard.seconds, 3), where)

"""Train new models on subsets of a published benchmark, and test whether they are distributed as the published models.

The new models have new seeds. If they are trained as the published models were, on any device and with any engine, they are
interchangeable with the published runs. Each statistic of the new models is compared with that of the published runs.

Legend: K subsets, R published runs, N targets.
"""

from __future__ import annotations

import time
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import stats

from ldsboard.bundle import Bundle
from ldsboard.manifest import MANIFEST, BundleError
from ldsboard.retraining import device
from ldsboard.retraining.engines import ENGINES, check_engine
from worker import bench
from worker.memory import is_out_of_memory
from worker.plan import ConfigurationError
from worker.remaking import require_same_data, require_same_recipe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from ldsboard.retraining.recipe import Recipe

FALSE_ALARMS = 1 / 4000
"""Share of comparisons of models trained alike that report a difference, by chance."""

FEWEST_SUBSETS = 10
"""With fewer subsets, the standard errors are too uncertain."""


class Comparison(NamedTuple):
    """A statistic of the new models and of the published models, and the standard error of the difference over K subsets."""

    name: str
    new: float
    published: float
    error: float
    K: int

    @property
    def agrees(self) -> bool:
        """Whether the difference is within the standard errors that Student's t, K - 1, exceeds in `FALSE_ALARMS` of cases."""
        return bool(abs(self.new - self.published) <= stats.t.isf(FALSE_ALARMS / 2, self.K - 1) * self.error)

    def __str__(self) -> str:
        verdict = "agrees" if self.agrees else "DIFFERS"
        difference = self.new - self.published
        return (
            f"{self.name}: new {self.new:.4f}, published {self.published:.4f}, difference {difference:+.4f} ± "
            f"{self.error:.4f} (standard error): {verdict}"
        )


class Speed(NamedTuple):
    """Number of new models, seconds of their training, and operations per second as a share of the device's measured peak.

    The seconds are processor time on a CPU, and wall time on a GPU.
    """

    models: int
    seconds: float
    share_of_peak: float


class Found(NamedTuple):
    """Comparisons of the new models, their speed, and how many of them diverged: have margins that are not finite."""

    comparisons: list[Comparison]
    speed: Speed
    diverged: int

    @property
    def agrees(self) -> bool:
        """Whether no model diverged, and all comparisons agree."""
        return not self.diverged and all(comparison.agrees for comparison in self.comparisons)


def compare(new_KN: NDArray[np.float32], published_KRN: NDArray[np.float32]) -> list[Comparison]:
    """Compare the margins of one new model for each of K subsets with those of R published runs on the same subsets.

    Returns
    -------
    list of Comparison
        - *agreement*: the correlation of the margins of two runs over the subsets, averaged over targets; of the new run with
          each published run, and of the published runs with each other. The standard error is a jackknife over subsets.
        - *mean margin*, and *standard deviation*: those of a model's margins, averaged over the subsets. The
          standard error is that of the paired differences over subsets.
    """
    new, published = new_KN.astype(np.float64), published_KRN.astype(np.float64)
    K = len(new)
    found = _agreements(new, published)
    without_K = [np.subtract(*_agreements(np.delete(new, k, 0), np.delete(published, k, 0))) for k in range(K)]
    agreement = Comparison("agreement", *found, float(np.sqrt((K - 1) * np.var(without_K))), K)
    return [
        agreement,
        _paired("mean margin", new.mean(1), published.mean(2).mean(1)),
        _paired("standard deviation", new.std(1), published.std(2).mean(1)),
    ]


def _agreements(new_KN: NDArray[np.float64], published_KRN: NDArray[np.float64]) -> tuple[float, float]:
    runs_RKN = published_KRN.swapaxes(0, 1)
    with_new = [_correlation(new_KN, run_KN) for run_KN in runs_RKN]
    return float(np.mean(with_new)), float(np.mean([_correlation(a, b) for a, b in combinations(runs_RKN, 2)]))


def _correlation(a_KN: NDArray[np.float64], b_KN: NDArray[np.float64]) -> float:
    """Return the correlation over subsets, averaged over targets; 0 for targets whose margins do not vary."""
    a_KN, b_KN = a_KN - a_KN.mean(0), b_KN - b_KN.mean(0)
    lengths_N = np.sqrt((a_KN**2).sum(0) * (b_KN**2).sum(0))
    return float(np.divide((a_KN * b_KN).sum(0), lengths_N, out=np.zeros_like(lengths_N), where=lengths_N != 0).mean())


def _paired(name: str, new_K: NDArray[np.float64], published_K: NDArray[np.float64]) -> Comparison:
    error = (new_K - published_K).std(ddof=1) / np.sqrt(len(new_K))
    return Comparison(name, float(new_K.mean()), float(published_K.mean()), float(error), len(new_K))


class Retraining:
    """New models on the first public subsets of a published benchmark.

    Parameters
    ----------
    folder
        Folder of the benchmark.
    load
        Loads a recipe by name or path.
    subsets
        How many subsets (K) to train a model on.
    kind
        Kind of device.
    recipe
        Path of a recipe file; None: the recipe that the manifest names.

    Raises
    ------
    BundleError
        The benchmark is incomplete, has fewer subsets than `subsets`, only one run, or no public seed.
    ConfigurationError
        `subsets` is below `FEWEST_SUBSETS`, or the recipe or the data set is not that of the benchmark.
    DataError
        The data set of the recipe cannot be loaded.
    """

    def __init__(
        self, folder: Path, load: Callable[[str], Recipe], subsets: int, kind: str, recipe: str | None = None
    ) -> None:
        bundle = Bundle.open(folder)
        manifest, path = bundle.manifest, folder / "public" / MANIFEST
        if subsets < FEWEST_SUBSETS:
            raise ConfigurationError(f"expected at least {FEWEST_SUBSETS} subsets, got {subsets}")
        if manifest.public_seed is None:
            raise BundleError(
                f"{path} has no public seed, because the subsets were imported: no model can be trained alike."
            )
        if manifest.runs < 2:  # noqa: PLR2004 -- agreement needs two runs
            raise BundleError(f"{folder} has one run of each subset, so the agreement of its runs is unknown.")
        if manifest.subsets["public"] < subsets:
            raise BundleError(
                f"{folder} has {manifest.subsets['public']} public subsets. Use --subsets {manifest.subsets['public']} or less."
            )
        name = recipe or str(manifest.recipe["name"])
        require_same_recipe(load(name), manifest, path)
        self.setup = bench.Setup(name, None, kind)
        require_same_data(self.setup.trainer.data, manifest, path)
        seed, new_run = manifest.public_seed, manifest.runs
        self._seeds = [(seed, subset, new_run) for subset in range(subsets)]
        self._examples = [np.flatnonzero(mask) for mask in bundle.masks_Mn[:subsets]]
        self._published_KRN = bundle.margins_MRN[:subsets]

    def run(self, engine: str, group: int) -> Found:
        """Train the new models with an engine, `group` models at a time; compare them, and time the training.

        Raises
        ------
        ConfigurationError
            The engine cannot train the recipe, or memory runs out.
        """
        trainer, kind = self.setup.trainer, self.setup.kind
        try:
            check_engine(engine, trainer.recipe)
        except TypeError as error:
            raise ConfigurationError(str(error)) from error
        trainer.engine = ENGINES[engine]
        clock = time.process_time if kind == device.CPU else time.perf_counter
        try:
            if kind == device.GPU:
                self._margins(slice(group))  # to warm up
            start = clock()
            new_KN = np.concatenate([self._margins(slice(k, k + group)) for k in range(0, len(self._seeds), group)])
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise ConfigurationError(f"Memory ran out with K = {group}. Use a smaller --group.") from error
        seconds = clock() - start
        share = self.setup.operations() * len(self._seeds) / seconds / bench.peak(kind)
        diverged = int((~np.isfinite(new_KN)).any(axis=1).sum())
        with np.errstate(invalid="ignore"):  # of models that diverged
            comparisons = compare(new_KN, self._published_KRN)
        return Found(comparisons, Speed(len(self._seeds), seconds, share), diverged)

    def _margins(self, some: slice) -> NDArray[np.float32]:
        trainer = self.setup.trainer
        return trainer.evaluate(trainer.train(self._seeds[some], self._examples[some])).margins_KN

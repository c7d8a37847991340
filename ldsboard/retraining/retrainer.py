"""Retrain models without some of their training examples.

Each retrained model has the initialisation of a reference model, and sees the same examples in the same order with the same
augmentation, without the removed ones. So the two differ only by the removal and its consequences: on `digits-mlp`, the fall of
a margin without three examples varies over runs with a standard deviation of 0.06, against 0.14 if the orders are drawn anew.

Legend: K models of a group, n examples, E epochs, N targets. `a` is how many numbers describe the augmentation of an example.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from ldsboard.counterfactual.falls import Outputs
from ldsboard.manifest import BundleError
from ldsboard.retraining.engines import check_engine
from ldsboard.retraining.recipe_file import load_recipe
from ldsboard.retraining.trainer import REFERENCE_SUBSET, GroupTrainer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ldsboard.retraining.kit import Kit


class Removal(NamedTuple):
    """A model to retrain: the number of its run, and the indices of the examples that it does not see, (k,)."""

    run: int
    examples: NDArray[np.integer]


class Retrainer(GroupTrainer):
    """Retrains models of a benchmark in this process, on the CPU, with the default engine of its recipe."""

    def __init__(self, kit: Kit, runs: int) -> None:
        recipe = load_recipe(kit.recipe)
        try:
            check_engine(recipe.ENGINE, recipe)
        except TypeError as error:
            raise BundleError(f"The recipe {recipe.NAME} cannot be trained: {error}") from error
        super().__init__(recipe, recipe.ENGINE, kit.train, kit.target)
        self._seeds = [(kit.seed, REFERENCE_SUBSET, run) for run in range(runs)]

    @cached_property
    def _visits_REn(self) -> list[torch.Tensor]:
        """For each run, the order of all examples, int64 (E, n), or the visits, (E, n, 1 + a)."""
        every = np.arange(len(self.labels_n))
        return [self.order(seed, every) for seed in self._seeds]

    def visits_without(self, removal: Removal) -> torch.Tensor:
        """Return the order of a run without the removed examples, int64 (E, n - k); or the visits, (E, n - k, 1 + a)."""
        visits_En, left = self._visits_REn[removal.run], len(self.labels_n) - len(removal.examples)
        kept_n = torch.ones(len(self.labels_n), dtype=torch.bool)
        kept_n[torch.from_numpy(removal.examples).long()] = False
        examples_En = visits_En if self.augmenting is None else visits_En[..., 0]
        kept_En = kept_n[examples_En]
        if not (kept_En.sum(dim=1) == left).all():
            raise BundleError(
                f"The recipe {self.recipe.NAME} does not visit each example once in each epoch, so that some cannot be left out."
            )
        return visits_En[kept_En].view(len(visits_En), left, *visits_En.shape[2:])

    def retrain(self, removals: Sequence[Removal]) -> Outputs:
        """Train one model for each removal, as one group, and return what the models say of all targets, (K, N).

        Raises
        ------
        BundleError
            The recipe does not visit each example once in each epoch, or cannot train on so many examples.
        """
        orders = [self.visits_without(removal) for removal in removals]
        try:
            models = self.train_models([self._seeds[removal.run] for removal in removals], orders)
        except ValueError as error:  # such as batch normalisation of a single example
            left = orders[0].shape[1]
            raise BundleError(f"The recipe {self.recipe.NAME} cannot train on {left} examples: {error}") from error
        margins, losses, correct = self.outputs(models)
        return Outputs(margins.float().numpy(), losses.float().numpy(), correct.numpy())

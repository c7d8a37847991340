"""Train groups of models of a recipe, and compute what they say of the targets.

The initialisation, order and augmentation of each model have seeds of their own (`ldsboard.subsets.generator`), so no random
choice for a model depends on where, when or with which other models the model trains.

Legend: K models of a group, n examples, d inputs, E epochs, m examples of a subset, N targets, C classes.
`a` is how many numbers describe the augmentation of an example.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from ldsboard.retraining import device
from ldsboard.retraining.engines import ENGINES
from ldsboard.retraining.recipe import Augmenting
from ldsboard.subsets import AUGMENTATION, INITIALISATION, ORDER, generator

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from ldsboard.retraining.recipe import Recipe

    Seed = tuple[int, int, int]
    """Root, subset and run."""

REFERENCE_SUBSET = 2**32 - 1
"""Subset number in the seeds of the reference models, which train on all examples. No subset has this number."""


class Examples(NamedTuple):
    """Training examples or targets: images, uint8 (n, ...), and labels, int64 (n,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


class OutputTensors(NamedTuple):
    """What K models say of N targets: margins, losses (cross-entropy), and whether the prediction is right, (K, N) each."""

    margins: torch.Tensor
    losses: torch.Tensor
    correct: torch.Tensor


class GroupTrainer:
    """Trains groups of models of a recipe in this process. Creating a trainer limits the process to one thread."""

    def __init__(self, recipe: Recipe, engine: str, train: Examples, target: Examples, kind: str = device.CPU) -> None:
        device.use_one_thread()  # more threads would change bits
        self.torch_device = device.torch_device(kind)
        self.recipe = recipe
        self.augmenting = recipe if isinstance(recipe, Augmenting) else None
        self.engine = ENGINES[engine]
        self.inputs_nd, self.target_inputs = (
            recipe.inputs(part.images).to(self.torch_device) for part in (train, target)
        )
        self.labels_n, self.target_labels = (
            torch.from_numpy(part.labels).to(self.torch_device) for part in (train, target)
        )

    def initialise(self, seed: Seed) -> nn.Module:
        """Return a new model with the initialisation of a seed."""
        model = self.recipe.build()
        self.recipe.initialise(model, generator(*seed, INITIALISATION))
        # On a CPU, skip `to`, which visits every module.
        return model if self.torch_device.type == device.CPU else model.to(self.torch_device)

    def order(self, seed: Seed, index_m: NDArray[np.integer]) -> torch.Tensor:
        """Return `index_m` in a random order for each epoch, int64 (E, m); if the recipe augments, the visits (E, m, 1 + a)."""
        order_Em = self.recipe.order(generator(*seed, ORDER), index_m)
        if self.augmenting is None:
            return order_Em
        return self.augmenting.visits(generator(*seed, AUGMENTATION), order_Em)

    def train_models(self, seeds: Sequence[Seed], orders: Sequence[torch.Tensor]) -> list[nn.Module]:
        """Train one model for each seed and its order (or visits), as one group. All orders have one shape."""
        models = [self.initialise(seed) for seed in seeds]
        self.engine(self.recipe, models, self.inputs_nd, self.labels_n, torch.stack(list(orders)).to(self.torch_device))
        return models

    @torch.no_grad()
    def outputs(self, models: Sequence[nn.Module]) -> OutputTensors:
        """Return what trained models say of the targets; leave the models in evaluation mode."""
        logits_KNC = torch.stack([model.eval()(self.target_inputs) for model in models])
        labels_KN = self.target_labels.expand(logits_KNC.shape[:2])
        losses_KN = logits_KNC.logsumexp(2) - logits_KNC.gather(2, labels_KN.unsqueeze(2)).squeeze(2)
        return OutputTensors(self.recipe.output(logits_KNC, labels_KN), losses_KN, logits_KNC.argmax(2) == labels_KN)

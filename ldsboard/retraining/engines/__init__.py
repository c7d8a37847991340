"""Engines train a group of models. All engines give the same models, up to rounding, but differ in speed.

Legend: K models of a group, n examples, d inputs, m examples of a subset, E epochs. `a` is how many numbers describe
the augmentation of an example.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ldsboard.retraining.engines.batched import linear_layers, train_batched
from ldsboard.retraining.engines.sequential import train_sequential
from ldsboard.retraining.engines.vmapped import require_stackable, train_vmapped
from ldsboard.retraining.recipe import Augmenting, Stackable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import nn

    from ldsboard.retraining.recipe import Recipe


class Engine(Protocol):
    """Trains a group of initialised models in place. Each model has an order in which it visits the examples of its subset."""

    def __call__(
        self,
        recipe: Recipe,
        models: Sequence[nn.Module],
        inputs_nd: torch.Tensor,
        labels_n: torch.Tensor,
        order_KEm: torch.Tensor,
        /,
    ) -> None:
        """Train the models in place.

        `order_KEm` holds the order in which each model visits its examples: indices of examples, int64 (K, E, m). For a recipe
        with augmentation it holds visits, int64 (K, E, m, 1 + a). A visit is the index of an example, followed by the a
        parameters of its augmentation.
        """


ENGINES: dict[str, Engine] = {"batched": train_batched, "sequential": train_sequential, "vmapped": train_vmapped}


def check_engine(name: str, recipe: Recipe) -> None:
    """Check that an engine can train a recipe; `worker.same_steps` checks that it trains the recipe right.

    Raises
    ------
    TypeError
        The engine cannot train the recipe. The message says what the engine requires.
    """
    if name == "batched":
        linear_layers(recipe.build())
        if isinstance(recipe, Augmenting):
            raise TypeError(
                f"The batched engine augments no examples, as {recipe.NAME} does. Train this recipe with the sequential engine."
            )
    elif name == "vmapped":
        require_stackable(recipe)


def engines_for(recipe: Recipe) -> list[str]:
    """Return the names of the engines for a recipe: its own `ENGINE`, sequential, and vmapped if the recipe is `Stackable`."""
    possible = {recipe.ENGINE, "sequential"} | ({"vmapped"} if isinstance(recipe, Stackable) else set())
    return [name for name in ENGINES if name in possible]

"""Engines train a group of models. All give the same models, up to rounding; they differ in speed.

Legend: K models of a group, n examples, d inputs, m examples of a subset, E epochs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from worker.engines.batched import linear_layers, train_batched
from worker.engines.sequential import train_sequential
from worker.engines.vmapped import stackable, train_vmapped
from worker.models import Stackable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import nn

    from worker.models import Recipe


class Engine(Protocol):
    """Trains a group of initialised models in place, each in its own order of its own examples."""

    def __call__(
        self,
        recipe: Recipe,
        models: Sequence[nn.Module],
        inputs_nd: torch.Tensor,
        labels_n: torch.Tensor,
        order_KEm: torch.Tensor,
        /,
    ) -> None:
        """Train them; `order_KEm` holds indices of examples, int64."""


ENGINES: dict[str, Engine] = {"batched": train_batched, "sequential": train_sequential, "vmapped": train_vmapped}


def expect_fitting(name: str, recipe: Recipe) -> None:
    """Check that an engine can train a recipe, before anything is trained.

    Raises
    ------
    TypeError
        It cannot; the message says what it expects.
    """
    if name == "batched":
        linear_layers(recipe.build())
    elif name == "vmapped":
        stackable(recipe)


def fitting(recipe: Recipe) -> list[str]:
    """Return the names of the engines that can train a recipe: the one it names, sequential, and vmapped if it can be stacked."""
    possible = {recipe.ENGINE, "sequential"} | ({"vmapped"} if isinstance(recipe, Stackable) else set())
    return [name for name in ENGINES if name in possible]

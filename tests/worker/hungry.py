"""The digits recipe, but training more than two models at once requests more memory than any machine has."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast

import torch

from worker.recipes import digits_mlp
from worker.recipes.digits_mlp import ALPHA, DATASET, SETTINGS, build, initialise, inputs, order, output, train

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ldsboard.retraining.recipe import Recipe

NAME = TITLE = DESCRIPTION = "hungry"
ENGINE, GROUP = "batched", 8

__all__ = ["ALPHA", "DATASET", "SETTINGS", "build", "initialise", "inputs", "order", "output", "train"]


def batches(order_Em: torch.Tensor) -> Iterator[tuple[torch.Tensor, float]]:
    if order_Em[..., 0, 0].numel() > 4:  # two numbers for each model: an example and its label
        torch.empty(2**58)
    return digits_mlp.batches(order_Em)


def load(_: str) -> Recipe:
    return cast("Recipe", cast("Any", sys.modules[__name__]))

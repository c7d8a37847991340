"""The sequential engine: train one model after the other with the recipe's own loop. Other engines must match it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import nn

    from ldsboard.retraining.recipe import Recipe


def train_sequential(
    recipe: Recipe,
    models: Sequence[nn.Module],
    inputs_nd: torch.Tensor,
    labels_n: torch.Tensor,
    order_KEm: torch.Tensor,
) -> None:
    """Train a group of models one by one; see `ldsboard.retraining.engines.Engine`."""
    for model, order_Em in zip(models, order_KEm, strict=True):
        recipe.train(model, inputs_nd, labels_n, order_Em)

"""The vmapped engine: train K models at once by mapping the recipe's forward pass and loss over stacked parameters.

`torch.vmap` turns the convolutions of K models into one grouped convolution, and linear layers into batched products. Batch
normalisation averages over each model's own batch. The running averages are stacked like the parameters, so these averages change
as in separate training. The recipe creates the optimizer. Stochastic gradient descent updates each parameter independently of the
others, so stacking does not change the updates.

The loss of each model is the mean over its own batch. The engine adds up the losses, so each gradient depends on one model only.

Legend: K models of a group, n examples, d inputs, m examples of a subset, E epochs, B examples of a step.
"""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch.func import functional_call, stack_module_state

from ldsboard.retraining.recipe import Augmenting, Stackable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from ldsboard.retraining.recipe import Recipe


def require_stackable(recipe: Recipe) -> Stackable:
    """Check that a recipe has the functions of `Stackable`, and return the recipe.

    Raises
    ------
    TypeError
        The recipe lacks `altered`, `loss` or `optimizer`.
    """
    if not isinstance(recipe, Stackable):
        raise TypeError(
            f"The vmapped engine requires the functions altered, loss and optimizer, which the recipe {recipe.NAME} lacks. "
            "Train this recipe with the sequential engine."
        )
    return recipe


def train_vmapped(
    recipe: Recipe,
    models: Sequence[nn.Module],
    inputs_nd: torch.Tensor,
    labels_n: torch.Tensor,
    order_KEm: torch.Tensor,
) -> None:
    """Train a group of models at once; see `ldsboard.retraining.engines.Engine`.

    Raises
    ------
    TypeError
        The recipe lacks `altered`, `loss` or `optimizer`.
    """
    parts = require_stackable(recipe)
    skeleton = deepcopy(models[0]).train().to("meta")
    parameters, buffers = stack_module_state([model.train() for model in models])
    optimizer = parts.optimizer(parameters.values())

    def loss(
        parameters: dict[str, torch.Tensor],
        buffers: dict[str, torch.Tensor],
        inputs_Bd: torch.Tensor,
        labels_B: torch.Tensor,
    ) -> torch.Tensor:
        return parts.loss(partial(functional_call, skeleton, (parameters, buffers)), inputs_Bd, labels_B)

    for batch_KB, learning_rate in recipe.batches(order_KEm):
        K, B = batch_KB.shape[:2]
        visits = batch_KB.flatten(0, 1)
        inputs = parts.altered(inputs_nd, visits)
        examples_KB = batch_KB[..., 0] if isinstance(recipe, Augmenting) else batch_KB
        losses_K = torch.vmap(loss)(parameters, buffers, inputs.view(K, B, *inputs.shape[1:]), labels_n[examples_KB])
        optimizer.param_groups[0]["lr"] = learning_rate
        optimizer.zero_grad()
        torch.autograd.backward(losses_K.sum())
        optimizer.step()
    with torch.no_grad():
        for k, model in enumerate(models):
            for name, values in (*model.named_parameters(), *model.named_buffers()):
                values.copy_((parameters if name in parameters else buffers)[name][k])

"""The batched engine: train K multilayer perceptrons at once, with stacked layers and batched matrix products.

Steps are written by hand, since for models of this size autograd and an optimizer cost more than the arithmetic. Four measures
make the steps fast:

- Logits have the classes before the examples, (K, C, B): softmax along a middle axis is 16 times as fast as along a last axis of
  length 10.
- The matrix product that computes a gradient also adds it to the velocity.
- All parameters share one buffer, weights first, and all velocities share another buffer, so the update is one pass over memory.
- Each step reuses the buffers of the step before, which are still in the cache.

Matrix products then take four fifths of the time.

The loss of each model is the mean over its own batch: a mean over the group would divide the learning rate by K.

Legend: K models of a group, n examples, d inputs, m examples of a subset, E epochs, B examples of a step, i inputs and o outputs
of a layer, C classes.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ldsboard.retraining.recipe import Recipe


class Layer(NamedTuple):
    """One linear layer of all K models: views into the buffers of a `Stack`."""

    weight_Koi: torch.Tensor
    bias_Ko1: torch.Tensor
    weight_velocity_Koi: torch.Tensor
    bias_gradient_Ko1: torch.Tensor


class Buffers(NamedTuple):
    """Buffers for steps with one batch size.

    These are the inputs of every layer, the gradients of the inputs of every layer but the first, and the logits.
    """

    inputs_KBi: list[torch.Tensor]
    gradients_KBi: list[torch.Tensor]
    logits_KCB: torch.Tensor


class Stack:
    """The stacked layers of a group, in three buffers: parameters, velocities, and gradients of biases.

    A step with learning rate ``rate`` and weight decay ``decay`` changes a parameter p with velocity v to
    ``(1 - rate * decay) * p - rate * v``. The buffer `velocities` holds scaled velocities, ``s = -v / decay``, so that a step is
    one interpolation, ``p + rate * decay * (s - p)``. If decay is 0, the buffer holds ``s = -v``, and a step is ``p + rate * s``.
    """

    def __init__(self, models: Sequence[nn.Module], momentum: float, decay: float) -> None:
        rows = list(zip(*[linear_layers(model) for model in models], strict=True))
        stacked = [torch.stack([layer.weight.detach() for layer in row]) for row in rows]
        stacked += [torch.stack([layer.bias.detach() for layer in row]).unsqueeze(2) for row in rows]
        sizes = [values.numel() for values in stacked]
        weights = sum(sizes[: len(rows)])
        self.parameters = torch.cat([values.flatten() for values in stacked])
        self.velocities = torch.zeros_like(self.parameters)
        self.bias_velocities, self.bias_gradients = (
            self.velocities[weights:],
            self.parameters.new_zeros(sum(sizes) - weights),
        )

        def views(buffer: torch.Tensor, like: list[torch.Tensor]) -> list[torch.Tensor]:
            parts = torch.split(buffer, [values.numel() for values in like])
            return [part.view(values.shape) for part, values in zip(parts, like, strict=True)]

        parameters = views(self.parameters, stacked)
        self.layers = [
            Layer(*each)
            for each in zip(
                parameters[: len(rows)],
                parameters[len(rows) :],
                views(self.velocities[:weights], stacked[: len(rows)]),
                views(self.bias_gradients, stacked[len(rows) :]),
                strict=True,
            )
        ]
        self._rows, self._momentum, self._decay = rows, momentum, decay
        self._minus_one = self.parameters.new_full((1, 1, 1), -1.0)
        self._buffers = cache(self._allocate_buffers)

    def _allocate_buffers(self, B: int) -> Buffers:
        empty = self.parameters.new_empty
        K, C, _ = self.layers[-1].weight_Koi.shape
        widths = [layer.weight_Koi.shape[2] for layer in self.layers]
        return Buffers([empty(K, B, i) for i in widths], [empty(K, B, i) for i in widths[1:]], empty(K, C, B))

    def step(self, inputs_nd: torch.Tensor, examples_KB: torch.Tensor, labels_KB: torch.Tensor, rate: float) -> None:
        """Update all parameters by one step on these examples."""
        K, B = examples_KB.shape
        buffers = self._buffers(B)
        torch.index_select(inputs_nd, 0, examples_KB.flatten(), out=buffers.inputs_KBi[0].view(K * B, -1))
        self._forward(buffers)
        # Gradient of the summed loss with respect to the logits: softmax - one-hot labels. `_accumulate` multiplies by 1 / B.
        error_KCB = torch.softmax(buffers.logits_KCB, 1)
        error_KCB.scatter_add_(1, labels_KB.unsqueeze(1), self._minus_one.expand(K, 1, B))
        self._accumulate(buffers, error_KCB, 1 / B)
        if self._decay:
            self.parameters.lerp_(self.velocities, rate * self._decay)
        else:
            self.parameters.add_(self.velocities, alpha=rate)

    def _forward(self, buffers: Buffers) -> None:
        *hidden, last = self.layers
        for layer, inputs_KBi, outputs_KBo in zip(hidden, buffers.inputs_KBi[:-1], buffers.inputs_KBi[1:], strict=True):
            torch.baddbmm(layer.bias_Ko1.mT, inputs_KBi, layer.weight_Koi.mT, out=outputs_KBo).relu_()
        torch.baddbmm(last.bias_Ko1, last.weight_Koi, buffers.inputs_KBi[-1].mT, out=buffers.logits_KCB)

    def _accumulate(self, buffers: Buffers, error_KoB: torch.Tensor, mean: float) -> None:
        """Compute the gradients of the mean loss by backpropagation, and update the velocities with them.

        A new velocity is momentum x velocity + gradient; the buffers hold velocities in the scaled form that `Stack` describes.
        `error_KoB` is the gradient of the summed loss with respect to the logits; `mean` is 1 / B.
        """
        share = -mean / (self._decay or 1)
        for depth in reversed(range(len(self.layers))):
            layer, inputs_KBi = self.layers[depth], buffers.inputs_KBi[depth]
            layer.weight_velocity_Koi.baddbmm_(error_KoB, inputs_KBi, beta=self._momentum, alpha=share)
            torch.sum(error_KoB, 2, keepdim=True, out=layer.bias_gradient_Ko1)
            if depth:
                gradients_KBi = torch.bmm(error_KoB.mT, layer.weight_Koi, out=buffers.gradients_KBi[depth - 1])
                torch.ops.aten.threshold_backward.grad_input(gradients_KBi, inputs_KBi, 0, grad_input=gradients_KBi)
                error_KoB = gradients_KBi.mT  # the call above set gradients to zero where the output of ReLU is zero
        self.bias_velocities.mul_(self._momentum).add_(self.bias_gradients, alpha=share)

    def copy_back(self) -> None:
        """Copy the trained parameters into the models."""
        for stacked, row in zip(self.layers, self._rows, strict=True):
            for k, layer in enumerate(row):
                layer.weight.data.copy_(stacked.weight_Koi[k])
                layer.bias.data.copy_(stacked.bias_Ko1[k, :, 0])


def linear_layers(model: nn.Module) -> list[nn.Linear]:
    """Return the linear layers of a multilayer perceptron: an `nn.Sequential` of linear layers with ReLU between them.

    Raises
    ------
    TypeError
        The model is not such a perceptron, or a linear layer has no bias.
    """
    kinds = [type(module) for module in model.children()]
    layers = [module for module in model.children() if isinstance(module, nn.Linear) and module.bias is not None]
    expected = [nn.Linear, *[nn.ReLU, nn.Linear] * max(len(layers) - 1, 0)]
    if not isinstance(model, nn.Sequential) or kinds != expected or not layers:
        raise TypeError(
            "The batched engine requires an nn.Sequential of Linear layers with bias and ReLU between them, "
            f"got {' '.join(str(model).split())}. Train this model with the sequential engine."
        )
    return layers


@torch.no_grad()
def train_batched(
    recipe: Recipe,
    models: Sequence[nn.Module],
    inputs_nd: torch.Tensor,
    labels_n: torch.Tensor,
    order_KEm: torch.Tensor,
) -> None:
    """Train a group of multilayer perceptrons at once; see `ldsboard.retraining.engines.Engine`.

    The loss is the cross-entropy. The engine updates the parameters as `Stack` describes, with the learning rates of the recipe's
    `batches` and with momentum and weight decay of its `SETTINGS`. The engine does not call the recipe's `train`, and does not
    support augmentation.

    Raises
    ------
    TypeError
        A model is not a multilayer perceptron (see `linear_layers`).
    """
    stack = Stack(models, recipe.SETTINGS.momentum, recipe.SETTINGS.weight_decay)
    visits_2KEm = torch.stack([order_KEm, labels_n[order_KEm]])  # example indices and labels
    for (examples_KB, labels_KB), learning_rate in recipe.batches(visits_2KEm):
        stack.step(inputs_nd, examples_KB, labels_KB, learning_rate)
    stack.copy_back()

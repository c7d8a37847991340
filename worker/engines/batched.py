"""K multilayer perceptrons at once: their layers are stacked, and every step is a few batched matrix products.

Steps are written out by hand, since at this size autograd and an optimizer cost more than the arithmetic. Logits are kept
classes first, (K, C, B): softmax along a middle axis is sixteen times as fast as along a last one of ten. Momentum is accumulated
by the very product that makes the gradient. All parameters share one buffer, weights first, and so do all velocities, so that the
rest of an update is one pass over memory. What a step computes on the way lies where the step before had it, still in the cache.
What is left is four fifths matrix products.

Each model's loss is the mean over *its* batch, as if it were alone: a mean over the group would divide its learning rate by K.

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

    from worker.models import Recipe


class Layer(NamedTuple):
    """One stacked linear layer: views of the group's buffers."""

    weight_Koi: torch.Tensor
    bias_Ko1: torch.Tensor
    weight_velocity_Koi: torch.Tensor
    bias_gradient_Ko1: torch.Tensor


class Room(NamedTuple):
    """Where steps of one size compute: what enters every layer, and what is passed back to it; the logits."""

    entering_KBi: list[torch.Tensor]
    passed_KBi: list[torch.Tensor]
    logits_KCB: torch.Tensor


class Stack:
    """The stacked layers of a group, in buffers: all parameters, all velocities, and the gradients of all biases.

    A step turns a parameter into ``(1 - rate * decay) * parameter - rate * velocity``. With `velocities` holding
    ``-velocity / decay``, that is one interpolation, ``parameter + rate * decay * (velocities - parameter)``.
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
        self._room = cache(self._make_room)

    def _make_room(self, B: int) -> Room:
        empty = self.parameters.new_empty
        K, C, _ = self.layers[-1].weight_Koi.shape
        widths = [layer.weight_Koi.shape[2] for layer in self.layers]
        return Room([empty(K, B, i) for i in widths], [empty(K, B, i) for i in widths[1:]], empty(K, C, B))

    def step(self, inputs_nd: torch.Tensor, examples_KB: torch.Tensor, labels_KB: torch.Tensor, rate: float) -> None:
        """Take one step on these examples."""
        K, B = examples_KB.shape
        room = self._room(B)
        torch.index_select(inputs_nd, 0, examples_KB.flatten(), out=room.entering_KBi[0].view(K * B, -1))
        self._forward(room)
        # Of the sum of losses, whose gradient is ``softmax - one hot``; the mean's 1 / B comes with the products.
        error_KCB = torch.softmax(room.logits_KCB, 1)
        error_KCB.scatter_add_(1, labels_KB.unsqueeze(1), self._minus_one.expand(K, 1, B))
        self._accumulate(room, error_KCB, 1 / B)
        if self._decay:
            self.parameters.lerp_(self.velocities, rate * self._decay)
        else:
            self.parameters.add_(self.velocities, alpha=rate)

    def _forward(self, room: Room) -> None:
        *hidden, last = self.layers
        for layer, entering_KBi, leaving_KBo in zip(hidden, room.entering_KBi[:-1], room.entering_KBi[1:], strict=True):
            torch.baddbmm(layer.bias_Ko1.mT, entering_KBi, layer.weight_Koi.mT, out=leaving_KBo).relu_()
        torch.baddbmm(last.bias_Ko1, last.weight_Koi, room.entering_KBi[-1].mT, out=room.logits_KCB)

    def _accumulate(self, room: Room, error_KoB: torch.Tensor, mean: float) -> None:
        """Go backwards through the layers: velocities become momentum times themselves plus the gradient of the mean loss."""
        share = -mean / (self._decay or 1)
        for depth in reversed(range(len(self.layers))):
            layer, entering_KBi = self.layers[depth], room.entering_KBi[depth]
            layer.weight_velocity_Koi.baddbmm_(error_KoB, entering_KBi, beta=self._momentum, alpha=share)
            torch.sum(error_KoB, 2, keepdim=True, out=layer.bias_gradient_Ko1)
            if depth:
                passed_KBi = torch.bmm(error_KoB.mT, layer.weight_Koi, out=room.passed_KBi[depth - 1])
                torch.ops.aten.threshold_backward.grad_input(passed_KBi, entering_KBi, 0, grad_input=passed_KBi)
                error_KoB = passed_KBi.mT  # 0 where ReLU gave 0
        self.bias_velocities.mul_(self._momentum).add_(self.bias_gradients, alpha=share)

    def copy_back(self) -> None:
        """Give every model its trained parameters."""
        for stacked, row in zip(self.layers, self._rows, strict=True):
            for k, layer in enumerate(row):
                layer.weight.data.copy_(stacked.weight_Koi[k])
                layer.bias.data.copy_(stacked.bias_Ko1[k, :, 0])


def linear_layers(model: nn.Module) -> list[nn.Linear]:
    """Return the layers of a multilayer perceptron.

    Raises
    ------
    TypeError
        The model is something else.
    """
    kinds = [type(module) for module in model.children()]
    layers = [module for module in model.children() if isinstance(module, nn.Linear) and module.bias is not None]
    expected = [nn.Linear, *[nn.ReLU, nn.Linear] * max(len(layers) - 1, 0)]
    if not isinstance(model, nn.Sequential) or kinds != expected or not layers:
        raise TypeError(
            "the batched engine expects an nn.Sequential of Linear layers with bias and ReLU between them, "
            f"got {' '.join(str(model).split())}. Train it with the sequential engine."
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
    """Train a group of multilayer perceptrons at once; see `worker.engines.Engine`.

    Raises
    ------
    TypeError
        A model is not a sequence of linear layers with ReLU between them.
    """
    stack = Stack(models, recipe.SETTINGS.momentum, recipe.SETTINGS.weight_decay)
    visits_2KEm = torch.stack([order_KEm, labels_n[order_KEm]])  # every example with its label
    for (examples_KB, labels_KB), learning_rate in recipe.batches(visits_2KEm):
        stack.step(inputs_nd, examples_KB, labels_KB, learning_rate)
    stack.copy_back()

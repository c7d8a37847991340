"""K multilayer perceptrons at once: their layers are stacked, and every step is a few batched matrix products.

Steps are written out by hand, since at this size autograd and an optimizer cost more than the arithmetic. Logits are kept
classes first, (K, C, B): softmax along a middle axis is sixteen times as fast as along a last one of ten. Momentum is accumulated
by the very product that makes the gradient, and all parameters share one buffer, so that the rest of an update is two passes over
memory. What is left is three quarters matrix products.

Each model's loss is the mean over *its* batch, as if it were alone: a mean over the group would divide its learning rate by K.

Legend: K models of a group, n examples, d inputs, m examples of a subset, E epochs, B examples of a step, i inputs and o outputs
of a layer, C classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.models import Recipe


class Layer(NamedTuple):
    """One stacked linear layer; parameters and velocities are views of the group's buffers."""

    weight_Koi: torch.Tensor
    bias_Ko1: torch.Tensor
    weight_velocity_Koi: torch.Tensor
    bias_velocity_Ko1: torch.Tensor


class Stack:
    """The stacked layers of a group, in two buffers: all parameters, and all velocities."""

    def __init__(self, models: Sequence[nn.Module]) -> None:
        columns = [_linear_layers(model) for model in models]
        rows = list(zip(*columns, strict=True))
        size = sum(parameter.numel() for layers in columns for layer in layers for parameter in layer.parameters())
        self.parameters = torch.empty(size)
        self.velocities = torch.zeros(size)
        self.layers: list[Layer] = []
        start = 0
        for row in rows:
            weight_Koi = torch.stack([layer.weight.detach() for layer in row])
            bias_Ko1 = torch.stack([layer.bias.detach() for layer in row]).unsqueeze(2)
            views = []
            for values in (weight_Koi, bias_Ko1):
                part = slice(start, start + values.numel())
                start = part.stop
                views.append([buffer[part].view(values.shape) for buffer in (self.parameters, self.velocities)])
                views[-1][0].copy_(values)
            (weight, weight_velocity), (bias, bias_velocity) = views
            self.layers.append(Layer(weight, bias, weight_velocity, bias_velocity))
        self._rows = rows

    def copy_back(self) -> None:
        """Give every model its trained parameters."""
        for stacked, row in zip(self.layers, self._rows, strict=True):
            for k, layer in enumerate(row):
                layer.weight.data.copy_(stacked.weight_Koi[k])
                layer.bias.data.copy_(stacked.bias_Ko1[k, :, 0])


def _linear_layers(model: nn.Module) -> list[nn.Linear]:
    kinds = [type(module) for module in model.children()]
    layers = [module for module in model.children() if isinstance(module, nn.Linear) and module.bias is not None]
    expected = [nn.Linear, *[nn.ReLU, nn.Linear] * max(len(layers) - 1, 0)]
    if not isinstance(model, nn.Sequential) or kinds != expected or not layers:
        raise TypeError(
            "the batched engine expects an nn.Sequential of Linear layers with bias and ReLU between them, "
            f"got {model}. Train it with the sequential engine."
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
    stack = Stack(models)
    momentum, decay = recipe.SETTINGS.momentum, recipe.SETTINGS.weight_decay
    K, d = len(models), inputs_nd.shape[1]
    minus_one = torch.full((1, 1, 1), -1.0)
    for batch_KB, learning_rate in recipe.batches(order_KEm):
        examples, B = batch_KB.flatten(), batch_KB.shape[1]
        entering, logits_KCB = _forward(stack.layers, inputs_nd.index_select(0, examples).view(K, B, d))
        # Of the sum of losses, whose gradient is ``softmax - one hot``; the mean's 1 / B comes with the products.
        labels_K1B = labels_n.index_select(0, examples).view(K, 1, B)
        error_KCB = torch.softmax(logits_KCB, 1).scatter_add_(1, labels_K1B, minus_one.expand(K, 1, B))
        _accumulate(stack.layers, entering, error_KCB, momentum)
        stack.parameters.mul_(1 - learning_rate * decay).add_(stack.velocities, alpha=-learning_rate)
    stack.copy_back()


def _forward(layers: list[Layer], inputs_KBd: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Return what enters every layer, (K, B, i), and the logits, (K, C, B)."""
    entering = [inputs_KBd]
    for layer in layers[:-1]:
        entering.append(torch.baddbmm(layer.bias_Ko1.mT, entering[-1], layer.weight_Koi.mT).relu_())
    return entering, torch.baddbmm(layers[-1].bias_Ko1, layers[-1].weight_Koi, entering[-1].mT)


def _accumulate(layers: list[Layer], entering: list[torch.Tensor], error_KoB: torch.Tensor, momentum: float) -> None:
    """Go backwards through the layers: every velocity becomes momentum times itself plus the gradient of the mean loss."""
    mean = 1 / error_KoB.shape[2]
    for depth in reversed(range(len(layers))):
        layer, entering_KBi = layers[depth], entering[depth]
        layer.weight_velocity_Koi.baddbmm_(error_KoB, entering_KBi, beta=momentum, alpha=mean)
        layer.bias_velocity_Ko1.mul_(momentum).add_(error_KoB.sum(2, keepdim=True), alpha=mean)
        if depth:
            passed_KBi = torch.bmm(error_KoB.mT, layer.weight_Koi)
            error_KoB = torch.ops.aten.threshold_backward(passed_KBi, entering_KBi, 0).mT  # 0 where ReLU gave 0

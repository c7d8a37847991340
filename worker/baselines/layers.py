"""Run a model of linear layers and convolutions forward, and keep the inputs and outputs of each layer.

The gradient of one example with respect to the parameters of a layer is a sum of outer products, one for each position at which
the layer is applied to the example. The factors of a product are the gradient with respect to the layer's outputs at the position
(the *slopes*), and the layer's inputs there: of a convolution, the patch of the image below the filter. If a layer has a single
position, as most linear layers have, the factors have fewer numbers than the gradient.

Legend: n examples, C classes; of one layer: T positions, o outputs, i inputs of a position including a constant 1 for the bias.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, TypeGuard, cast

import torch
from torch import nn

if TYPE_CHECKING:
    from worker.baselines.material import Examples


class Pass(NamedTuple):
    """A forward pass over n examples: logits (n, C), and for each layer its inputs (n, T, i) and outputs (n, T, o)."""

    logits_nC: torch.Tensor
    inputs: list[torch.Tensor]
    outputs: list[torch.Tensor]

    def backward(self, values_n: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return for each layer the slopes (n, T, o): the gradients of `values_n` with respect to the layer's outputs.

        `values_n` holds one value for each example, computed from the logits of this example alone.
        """
        return torch.autograd.grad(values_n.sum(), self.outputs, retain_graph=True, materialize_grads=True)


def run_forward(model: nn.Module, examples: Examples, *, positions: bool = False) -> Pass | None:
    """Run a model forward, keeping the inputs and outputs of its layers.

    Return None if a parameter of the model is not the weight or bias of a supported layer: of a linear layer that has a bias, on
    inputs (n, i), or of those that `positions` adds. Return None also if the model does not use every layer exactly once for each
    example. In such models, the kept inputs and outputs do not give the gradient of an example.

    Parameters
    ----------
    model
        Any module.
    examples
        Inputs and labels.
    positions
        Whether to support layers with several positions: linear layers on inputs (n, ..., i), and two-dimensional convolutions
        that have a bias, no groups, and a number of zeros as padding.
    """
    layers = [layer for layer in model.modules() if _is_linear(layer) or (positions and _is_convolution(layer))]
    covered = [id(parameter) for layer in layers for parameter in (layer.weight, layer.bias)]
    if len(covered) != len(set(covered)) or set(covered) != {id(parameter) for parameter in model.parameters()}:
        return None
    n = len(examples.inputs)
    used: list[nn.Module] = []
    inputs: list[torch.Tensor] = []
    outputs: list[torch.Tensor] = []

    def keep(layer: nn.Module, arguments: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        used.append(layer)
        convolution = isinstance(layer, nn.Conv2d)
        least, most = (4, 4) if convolution else (2, math.inf if positions else 2)
        if len(arguments) != 1 or len(output) != n or not least <= arguments[0].dim() <= most:
            return output
        values = _patches(layer, arguments[0]) if isinstance(layer, nn.Conv2d) else arguments[0]
        inputs.append(nn.functional.pad(values.detach().reshape(n, -1, values.shape[-1]), (0, 1), value=1.0))
        outputs.append(output.flatten(2).mT if convolution else output.reshape(n, -1, output.shape[-1]))
        # A copy, since a next layer that computes in place must not change the kept outputs.
        return (outputs[-1].mT if convolution else outputs[-1]).reshape(output.shape).clone()

    # First among the hooks of a layer, because later hooks may change its output.
    hooks = [layer.register_forward_hook(keep, prepend=True) for layer in layers]
    try:
        logits_nC = model(examples.inputs)
    finally:
        for hook in hooks:
            hook.remove()
    once = len(used) == len(set(used)) == len(layers) == len(inputs) and len(logits_nC) == n
    return Pass(logits_nC, inputs, outputs) if once else None


# A subclass may compute something else, or have more parameters.
def _is_linear(layer: nn.Module) -> TypeGuard[nn.Linear]:
    return type(layer) is nn.Linear and layer.bias is not None


def _is_convolution(layer: nn.Module) -> TypeGuard[nn.Conv2d]:
    return (
        type(layer) is nn.Conv2d
        and layer.bias is not None
        and layer.groups == 1
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )


def _patches(layer: nn.Conv2d, images: torch.Tensor) -> torch.Tensor:
    """Return the patches below the filter, (n, T, i - 1), in the order of its weights."""
    padding = cast("tuple[int, ...]", layer.padding)
    return nn.functional.unfold(images, layer.kernel_size, layer.dilation, padding, layer.stride).mT

"""Run a model of linear layers and convolutions forward, and keep the inputs and outputs of each layer.

The gradient of one example with respect to the parameters of a layer is a sum of outer products, one for each position at which
the layer is applied to the example. The factors of a product are the gradient with respect to the layer's outputs at the position
(the *slopes*), and the layer's inputs there: of a convolution, the patch of the image below the filter. If a layer has a single
position, as most linear layers have, the factors have fewer numbers than the gradient.

Legend: n examples, C classes; of one layer: T positions, o outputs, i inputs of a position including a constant 1 for the bias.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

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
        return torch.autograd.grad(values_n.sum(), self.outputs, retain_graph=True)


def run_forward(model: nn.Module, examples: Examples, *, positions: bool = False) -> Pass | None:
    """Run a model forward, keeping the inputs and outputs of its layers.

    Return None if a parameter of the model is not the weight or bias of a linear layer that has a bias, or if the model does not
    use every layer exactly once for each example: then the gradient of an example is not one outer product for each layer.

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
    layers = [layer for layer in model.modules() if _is_supported(layer, positions)]
    covered = sum(parameter.numel() for layer in layers for parameter in layer.parameters(recurse=False))
    if covered != sum(parameter.numel() for parameter in model.parameters()):
        return None
    inputs: list[torch.Tensor] = []
    outputs: list[torch.Tensor] = []

    def keep(layer: nn.Module, arguments: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        (values,) = arguments
        if isinstance(layer, nn.Conv2d):
            inputs.append(_patches(layer, values))
            outputs.append(output.flatten(2).mT)
            again = outputs[-1].mT
        else:
            inputs.append(values)
            outputs.append(output.reshape(len(output), -1, output.shape[-1]))
            again = outputs[-1]
        # A copy, since a next layer that computes in place must not change the kept outputs.
        return again.reshape(output.shape).clone()

    hooks = [layer.register_forward_hook(keep) for layer in layers]
    try:
        logits_nC = model(examples.inputs)
    finally:
        for hook in hooks:
            hook.remove()
    n = len(logits_nC)
    once = len(inputs) == len(layers) and all(len(values) == n and values.dim() > 1 for values in inputs)
    if not once or (not positions and any(values.dim() > 2 for values in inputs)):  # noqa: PLR2004
        return None
    by_position = [values.detach().reshape(n, -1, values.shape[-1]) for values in inputs]
    return Pass(logits_nC, [nn.functional.pad(each, (0, 1), value=1.0) for each in by_position], outputs)


def _is_supported(layer: nn.Module, positions: bool) -> bool:
    if isinstance(layer, nn.Conv2d):
        numbers = layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
        return positions and numbers and layer.bias is not None
    return isinstance(layer, nn.Linear) and layer.bias is not None


def _patches(layer: nn.Conv2d, images: torch.Tensor) -> torch.Tensor:
    """Return the patches below the filter, (n, T, i - 1), in the order of its weights."""
    padding = cast("tuple[int, ...]", layer.padding)
    return nn.functional.unfold(images, layer.kernel_size, layer.dilation, padding, layer.stride).mT

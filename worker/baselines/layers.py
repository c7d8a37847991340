"""Run a model of linear layers forward, and keep the inputs and outputs of each layer.

In such a model, the gradient of one example with respect to the parameters of a layer is the outer product of two vectors: the
gradient with respect to the layer's outputs (the *slopes*), and the layer's inputs. The two vectors
have fewer numbers than the gradient.

Legend: n examples, C classes; of one linear layer: o outputs, i inputs including a constant 1 for the bias.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

if TYPE_CHECKING:
    from worker.baselines.material import Examples


class Pass(NamedTuple):
    """A forward pass over n examples: logits (n, C), and for each linear layer its inputs (n, i) and outputs (n, o)."""

    logits_nC: torch.Tensor
    inputs: list[torch.Tensor]
    outputs: list[torch.Tensor]

    def backward(self, values_n: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return for each layer the slopes (n, o): the gradients of `values_n` with respect to the layer's outputs.

        `values_n` holds one value for each example, computed from the logits of this example alone.
        """
        return torch.autograd.grad(values_n.sum(), self.outputs, retain_graph=True)


def run_forward(model: nn.Module, examples: Examples) -> Pass | None:
    """Run a model forward, keeping the inputs and outputs of its linear layers.

    Return None if a parameter of the model is not the weight or bias of a linear layer that has a bias. Return None also if the
    model does not use every layer exactly once for each example. In such models, the gradient of an example is not one outer
    product for each layer.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear) and layer.bias is not None]
    covered = sum(layer.weight.numel() + layer.bias.numel() for layer in layers)
    if covered != sum(parameter.numel() for parameter in model.parameters()):
        return None
    inputs: list[torch.Tensor] = []
    outputs: list[torch.Tensor] = []

    def keep(_layer: nn.Module, arguments: tuple[torch.Tensor], output: torch.Tensor) -> None:
        inputs.append(nn.functional.pad(arguments[0].detach(), (0, 1), value=1.0))
        outputs.append(output)

    hooks = [layer.register_forward_hook(keep) for layer in layers]
    try:
        logits_nC = model(examples.inputs)
    finally:
        for hook in hooks:
            hook.remove()
    once = len(inputs) == len(layers) and all(values.shape[:-1] == (len(logits_nC),) for values in inputs)
    return Pass(logits_nC, inputs, outputs) if once else None

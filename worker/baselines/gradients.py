"""Gradients of one example at a time, for any model.

Legend: n examples, d inputs, C classes, P parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.func import functional_call, grad, vmap
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from worker.baselines.material import Examples

CHUNK = 256
"""Examples differentiated at once: memory stays at a few times CHUNK x P numbers beside the result."""


def loss(logits_nC: torch.Tensor, labels_n: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of every example, (n,)."""
    return functional.cross_entropy(logits_nC, labels_n, reduction="none")


def per_example(
    model: nn.Module, function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], examples: Examples
) -> torch.Tensor:
    """Return the gradient of a function of logits and labels by all parameters, for each example alone: (n, P).

    Parameters
    ----------
    model
        Any module without state that changes or couples examples.
    function
        From logits (1, C) and labels (1,) to values (1,), such as `loss` or a recipe's ``output``.
    examples
        Inputs (n, d) and labels (n,).
    """
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}

    def value(parameters: dict[str, torch.Tensor], input_d: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return function(functional_call(model, parameters, (input_d[None],)), label[None])[0]

    gradients = vmap(grad(value), in_dims=(None, 0, 0), chunk_size=CHUNK)(parameters, examples.inputs, examples.labels)
    return torch.cat([gradient.flatten(1) for gradient in gradients.values()], dim=1)

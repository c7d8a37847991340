"""Gradients of single examples, in compact forms that suffice for inner products.

Legend: n and m examples, d inputs, C classes, P parameters, p numbers (P, or the sketch size); of a linear layer: o outputs,
i inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from worker.baselines import layers

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from worker.baselines.material import Examples

    Function = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

SKETCH_SIZE = 2**14
"""Size S of a count sketch. Sketches replace the gradients of examples if a model has more than S parameters and is not a model
of linear layers (see `layers.run_forward`)."""

CHUNK_NUMBERS = 2**26
"""Number of values in the gradients of one chunk of examples. A chunk takes the memory of a few times as many values."""


class Outer(NamedTuple):
    """Gradients of n examples with respect to a layer's parameters; each gradient is the outer product of slopes and inputs."""

    slopes_no: torch.Tensor
    inputs_ni: torch.Tensor


@dataclass(frozen=True)
class Gradients:
    """Gradients of n examples with respect to all parameters, as one outer product for each layer.

    For a model that `layers.run_forward` does not support, a single outer product stands for all layers (see `gradients`).
    """

    layers: list[Outer]

    def products(self, other: Gradients) -> torch.Tensor:
        """Return the inner products with the gradients of m other examples, (n, m).

        In each layer, the inner product of two outer products is the product of two inner products. The result is the sum of
        these products over layers.
        """
        return sum(
            (
                (a.slopes_no @ b.slopes_no.T) * (a.inputs_ni @ b.inputs_ni.T)
                for a, b in zip(self.layers, other.layers, strict=True)
            ),
            start=torch.zeros(()),
        )


def loss(logits_nC: torch.Tensor, labels_n: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of every example, (n,)."""
    return functional.cross_entropy(logits_nC, labels_n, reduction="none")


def gradients(model: nn.Module, function: Function, examples: Examples) -> Gradients:
    """Return the gradient of a function of logits and labels with respect to all parameters, for each example.

    For models of linear layers, which `layers.run_forward` supports, the gradients are exact: one outer product for each layer.
    For other models, `per_example` computes each gradient as one vector, or as a sketch of this vector if the model has more than
    `SKETCH_SIZE` parameters. The vector is stored as the first factor of an outer product, with 1 as the second factor, so all
    results have the same form.

    Parameters
    ----------
    model
        Any module whose output for an example depends neither on other examples nor on a changing state. Batch normalisation must
        therefore be in evaluation mode.
    function
        Maps logits (n, C) and labels (n,) to values (n,), such as `loss` or a recipe's ``output``.
    examples
        Inputs (n, d) and labels (n,).
    """
    forward = layers.run_forward(model, examples)
    if forward is None:
        gradients_np = per_example(model, function, examples)
        return Gradients([Outer(gradients_np, torch.ones(len(gradients_np), 1, dtype=gradients_np.dtype))])
    slopes = forward.backward(function(forward.logits_nC, examples.labels))
    return Gradients([Outer(a[:, 0], b[:, 0]) for a, b in zip(slopes, forward.inputs, strict=True)])


def per_example(model: nn.Module, function: Function, examples: Examples) -> torch.Tensor:
    """Return the gradient of `function` with respect to all parameters for each example, one gradient in each row, (n, P).

    If P > `SKETCH_SIZE`, each row is a count sketch of the gradient instead, (n, SKETCH_SIZE).

    A count sketch (Charikar et al. 2002; Weinberger et al. 2009, "Feature Hashing for Large Scale Multitask Learning") adds every
    value of a gradient, with a random sign, to one of S = SKETCH_SIZE sums chosen at random. The inner product of two sketches is
    an unbiased estimate of the inner product of the gradients. The standard deviation is at most ``sqrt(2 / S)``, 1.1 %, of the
    product of the gradients' lengths. TRAK's dense projection of the same size is as accurate, but costs n x P x S products
    instead of n x P additions. Signs and sums are drawn from a fixed seed, so they are the same for every model and every set of
    examples.
    """
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    P = sum(parameter.numel() for parameter in parameters.values())
    count = max(1, CHUNK_NUMBERS // P)

    def value(parameters: dict[str, torch.Tensor], input_d: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return function(functional_call(model, parameters, (input_d[None],)), label[None])[0]

    differentiate = vmap(grad(value), in_dims=(None, 0, 0))
    generator = torch.Generator().manual_seed(0)
    sum_P, positive_P = torch.randint(SKETCH_SIZE, (P,), generator=generator), torch.rand(P, generator=generator) < 0.5  # noqa: PLR2004
    rows = []
    for inputs, labels in zip(torch.split(examples.inputs, count), torch.split(examples.labels, count), strict=True):
        gradients_nP = torch.cat(
            [g.reshape(len(g), -1) for g in differentiate(parameters, inputs, labels).values()], dim=1
        )
        if P > SKETCH_SIZE:
            signed_nP = torch.where(positive_P, gradients_nP, -gradients_nP)
            gradients_nP = signed_nP.new_zeros(len(signed_nP), SKETCH_SIZE).index_add_(1, sum_P, signed_nP)
        rows.append(gradients_nP)
    return torch.cat(rows)

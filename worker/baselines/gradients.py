"""Gradients of one example at a time, in the least that their inner products need.

Legend: n and m examples, d inputs, C classes, P parameters, p numbers in their place; of a linear layer: o outputs, i inputs.
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

SKETCH = 2**14
"""Numbers that stand for a gradient of more parameters than that."""

AT_ONCE = 2**26
"""Numbers in the gradients that are differentiated at once; memory stays at a few times that, beside the result."""


class Outer(NamedTuple):
    """Gradients of n examples by the parameters of one layer: ``slopes (n, o)`` times ``inputs (n, i)``, outer by example."""

    slopes_no: torch.Tensor
    inputs_ni: torch.Tensor


@dataclass(frozen=True)
class Gradients:
    """Gradients of n examples by all parameters, as outer products: one for each layer, whose parameters are apart."""

    layers: list[Outer]

    def products(self, other: Gradients) -> torch.Tensor:
        """Return the inner products with the gradients of m others, (n, m).

        The inner product of two outer products is the product of two inner ones, so a model's is a sum over layers.
        """
        return sum(
            (
                (mine.slopes_no @ theirs.slopes_no.T) * (mine.inputs_ni @ theirs.inputs_ni.T)
                for mine, theirs in zip(self.layers, other.layers, strict=True)
            ),
            start=torch.zeros(()),
        )


def loss(logits_nC: torch.Tensor, labels_n: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of every example, (n,)."""
    return functional.cross_entropy(logits_nC, labels_n, reduction="none")


def gradients(model: nn.Module, function: Function, examples: Examples) -> Gradients:
    """Return the gradient of a function of logits and labels by all parameters, for each example alone.

    Layer by layer where `layers.run` can tell; by `per_example` for every other model, as outer products with a single 1.

    Parameters
    ----------
    model
        Any module without state that changes or couples examples; batch normalisation in evaluation is such a one.
    function
        From logits (n, C) and labels (n,) to values (n,), such as `loss` or a recipe's ``output``.
    examples
        Inputs (n, d) and labels (n,).
    """
    forward = layers.run(model, examples)
    if forward is None:
        gradients_np = per_example(model, function, examples)
        return Gradients([Outer(gradients_np, torch.ones(len(gradients_np), 1, dtype=gradients_np.dtype))])
    slopes = forward.backward(function(forward.logits_nC, examples.labels))
    return Gradients([Outer(*layer) for layer in zip(slopes, forward.inputs, strict=True)])


def per_example(model: nn.Module, function: Function, examples: Examples) -> torch.Tensor:
    """Return the gradients as rows: (n, P), or where P is more than `SKETCH`, count sketches of them, (n, SKETCH).

    A count sketch (Charikar et al. 2002; Weinberger et al. 2009, "Feature Hashing for Large Scale Multitask Learning") adds every
    number, with a random sign, to one of SKETCH sums chosen at random. The inner product of two sketches is that of the gradients
    on average, with a standard deviation of at most ``sqrt(2 / SKETCH)``, 1.1 %, of the product of their lengths: as near as the
    dense projection of the same size that TRAK draws, for n x P additions in place of n x P x SKETCH products. Signs and sums are
    drawn from a fixed seed, the same for every model and every set of examples.
    """
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    P = sum(parameter.numel() for parameter in parameters.values())
    count = max(1, AT_ONCE // P)

    def value(parameters: dict[str, torch.Tensor], input_d: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return function(functional_call(model, parameters, (input_d[None],)), label[None])[0]

    differentiate = vmap(grad(value), in_dims=(None, 0, 0))
    generator = torch.Generator().manual_seed(0)
    sum_P, positive_P = torch.randint(SKETCH, (P,), generator=generator), torch.rand(P, generator=generator) < 0.5  # noqa: PLR2004
    rows = []
    for inputs, labels in zip(torch.split(examples.inputs, count), torch.split(examples.labels, count), strict=True):
        gradients_nP = torch.cat([g.flatten(1) for g in differentiate(parameters, inputs, labels).values()], dim=1)
        if P > SKETCH:
            signed_nP = torch.where(positive_P, gradients_nP, -gradients_nP)
            gradients_nP = signed_nP.new_zeros(len(signed_nP), SKETCH).index_add_(1, sum_P, signed_nP)
        rows.append(gradients_nP)
    return torch.cat(rows)

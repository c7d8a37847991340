"""Influence functions with EK-FAC curvature.

Legend: n training examples, N targets, C classes; of one linear layer: o outputs, i inputs and a constant 1 for the bias.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from ldsboard.manifest import BundleError
from worker.baselines.gradients import loss

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from worker.baselines.material import Examples, Material

DAMPING = 3e-4


class Pass(NamedTuple):
    """A forward pass over n examples: logits (n, C), and of every linear layer its inputs (n, i) and its outputs (n, o)."""

    logits_nC: torch.Tensor
    inputs: list[torch.Tensor]
    outputs: list[torch.Tensor]

    def backward(self, values_n: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the gradient of every example's value by the outputs (n, o) of every layer."""
        return torch.autograd.grad(values_n.sum(), self.outputs, retain_graph=True)


class Eigenbasis(NamedTuple):
    """The curvature of one layer: ``(outputs_oo x inputs_ii) diag(values_oi) (outputs_oo x inputs_ii)'``."""

    outputs_oo: torch.Tensor
    inputs_ii: torch.Tensor
    values_oi: torch.Tensor

    def coordinates(self, inputs_ni: torch.Tensor, slopes_no: torch.Tensor) -> torch.Tensor:
        """Return each example's gradient, the outer product of slope and input, in this basis: (n, o x i)."""
        return torch.einsum("no,ni->noi", slopes_no @ self.outputs_oo, inputs_ni @ self.inputs_ii).flatten(1)


def ek_fac(material: Material, damping: float = DAMPING) -> NDArray[np.float32]:
    """Score by ``-grad margin(target)' (G + damping I)^-1 grad loss(example)``, mean over the models; float32 (n, N).

    Influence functions with the Gauss-Newton matrix G of the mean loss approximated by EK-FAC (George et al. 2018, "Fast
    Approximate Natural Gradient Descent in a Kronecker-factored Eigenbasis"; Grosse et al. 2023, "Studying Large Language Model
    Generalization with Influence Functions", section 2.2): layers apart, eigenvectors from the Kronecker factors, and along
    each of them the true second moment of the gradients.

    Costs, for each model, C + 2 backward passes and, for each layer, one product of (n, o x i) with (o x i, N).

    Raises
    ------
    BundleError
        A parameter belongs to another layer than a linear one with a bias.
    """
    scores_nN = torch.zeros(len(material.train.labels), len(material.target.labels))
    for model in material.models:
        train, target = run(model, material.train), run(model, material.target)
        bases = eigenbases(train)
        slopes = train.backward(loss(train.logits_nC, material.train.labels))
        target_slopes = target.backward(material.recipe.output(target.logits_nC, material.target.labels))
        for layer, basis in enumerate(bases):
            train_nP = basis.coordinates(train.inputs[layer], slopes[layer])
            target_NP = basis.coordinates(target.inputs[layer], target_slopes[layer])
            scores_nN -= (train_nP / (basis.values_oi.flatten() + damping)) @ target_NP.T
    scores: NDArray[np.float32] = (scores_nN / len(material.models)).numpy()
    return scores


def run(model: nn.Module, examples: Examples) -> Pass:
    """Run a model forward, keeping what goes into and comes out of its linear layers."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear) and layer.bias is not None]
    covered = sum(layer.weight.numel() + layer.bias.numel() for layer in layers)
    if covered != (total := sum(parameter.numel() for parameter in model.parameters())):
        raise BundleError(
            f"expected a model of linear layers with biases, got one with {total - covered} other parameters. "
            "EK-FAC is written for multilayer perceptrons; use trak instead."
        )
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
    return Pass(logits_nC, inputs, outputs)


def eigenbases(train: Pass) -> list[Eigenbasis]:
    """Return the curvature of every layer, for labels as the model itself would draw them.

    The expectation over labels is taken over all C classes instead of by sampling: exact, and the same every time.
    """
    log_p_nC = train.logits_nC.log_softmax(dim=1)
    p_nC = log_p_nC.detach().exp()
    slopes = [train.backward(log_p_n) for log_p_n in log_p_nC.unbind(1)]
    return [
        _eigenbasis(inputs_ni, [of_class[layer] for of_class in slopes], p_nC)
        for layer, inputs_ni in enumerate(train.inputs)
    ]


def _eigenbasis(inputs_ni: torch.Tensor, slopes: list[torch.Tensor], p_nC: torch.Tensor) -> Eigenbasis:
    slopes_Cno = torch.stack(slopes)
    weights_Cn1 = p_nC.T.unsqueeze(2) / len(inputs_ni)
    moment_oo = torch.einsum("cno,cnp->op", slopes_Cno * weights_Cn1, slopes_Cno)
    outputs_oo = torch.linalg.eigh(moment_oo).eigenvectors
    inputs_ii = torch.linalg.eigh(inputs_ni.T @ inputs_ni / len(inputs_ni)).eigenvectors
    energy_no = ((slopes_Cno @ outputs_oo).square() * weights_Cn1).sum(0)
    return Eigenbasis(outputs_oo, inputs_ii, energy_no.T @ (inputs_ni @ inputs_ii).square())

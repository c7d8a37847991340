"""Influence functions with EK-FAC curvature.

Legend: n training examples, N targets, C classes; of one linear layer: o outputs, i inputs including a constant 1 for the bias.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from ldsboard.manifest import BundleError
from worker.baselines import layers
from worker.baselines.gradients import Outer, loss

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from worker.baselines.layers import Pass
    from worker.baselines.material import Examples, Material

DAMPING = 0.5


class Eigenbasis(NamedTuple):
    """Eigenvectors and eigenvalues of the curvature of one layer, as EK-FAC approximates them.

    The curvature is ``Q diag(values_oi) Q'``. The eigenvectors are the columns of Q, the Kronecker product of `outputs_oo` and
    `inputs_ii`.
    """

    outputs_oo: torch.Tensor
    inputs_ii: torch.Tensor
    values_oi: torch.Tensor

    def coordinates(self, gradients: Outer) -> Outer:
        """Return the coordinates of the layer's gradients along the eigenvectors.

        The coordinates of one gradient are again an outer product: of the transformed slopes and the transformed inputs.
        """
        return Outer(gradients.slopes_no @ self.outputs_oo, gradients.inputs_ni @ self.inputs_ii)

    def products(self, train: Outer, target: Outer, damping: float) -> torch.Tensor:
        """Return ``train' (curvature + damping I)^-1 target`` for every pair of a training example and a target, (n, N).

        `train` and `target` hold the layer's gradients of the n training examples and of the N targets.
        """
        train, target = self.coordinates(train), self.coordinates(target)
        products_nN = torch.zeros(len(train.slopes_no), len(target.slopes_no), dtype=train.slopes_no.dtype)
        # Loop over outputs, since a computation for all outputs at once would need n x o x i numbers.
        for slope_n, target_slope_N, values_i in zip(
            train.slopes_no.T, target.slopes_no.T, self.values_oi, strict=True
        ):
            along_inputs_nN = (train.inputs_ni / (values_i + damping)) @ target.inputs_ni.T
            products_nN += slope_n[:, None] * target_slope_N * along_inputs_nN
        return products_nN


def ek_fac(material: Material, damping: float = DAMPING) -> NDArray[np.float32]:
    """Return the scores of influence functions with EK-FAC, averaged over the reference models, float32 (n, N).

    The score is ``-grad margin(target)' (G + lambda I)^-1 grad loss(example)``. G is the Gauss-Newton matrix of the mean loss,
    approximated by EK-FAC (George et al. 2018, "Fast Approximate Natural Gradient Descent in a Kronecker-factored Eigenbasis";
    Grosse et al. 2023, "Studying Large Language Model Generalization with Influence Functions", section 2.2). G has one block for
    each layer and is zero elsewhere. The eigenvectors of a block come from its Kronecker factors. The eigenvalues are the exact
    second moments of the gradients along these eigenvectors.

    Parameters
    ----------
    material
        Public part of the benchmark.
    damping
        ``lambda`` divided by the mean eigenvalue of G over all layers, so that one value suits models and data of any scale.

    Raises
    ------
    BundleError
        The model has parameters outside linear layers with biases, or does not use each layer exactly once for each example.

    Notes
    -----
    Each model needs C + 2 backward passes and, for each layer, o matrix products of (n, i) with (i, N).
    """
    scores_nN = torch.zeros(len(material.train.labels), len(material.target.labels))
    for model in material.models:
        train, target = _run_forward(model, material.train), _run_forward(model, material.target)
        slopes = train.backward(loss(train.logits_nC, material.train.labels))
        target_slopes = target.backward(material.recipe.output(target.logits_nC, material.target.labels))
        bases = eigenbases(train)
        typical = float(torch.cat([basis.values_oi.flatten() for basis in bases]).mean())
        for layer, basis in enumerate(bases):
            train_layer = Outer(slopes[layer], train.inputs[layer])
            target_layer = Outer(target_slopes[layer], target.inputs[layer])
            scores_nN -= basis.products(train_layer, target_layer, damping * typical)
    scores: NDArray[np.float32] = (scores_nN / len(material.models)).numpy()
    return scores


def _run_forward(model: nn.Module, examples: Examples) -> Pass:
    """Return the forward pass of a model; raise BundleError if `layers.run_forward` does not support the model."""
    forward = layers.run_forward(model, examples)
    if forward is None:
        raise BundleError(
            "EK-FAC supports only models of linear layers with biases, each used once for an example. This model has other "
            "parameters or uses a layer twice; use trak instead."
        )
    return forward


def eigenbases(train: Pass) -> list[Eigenbasis]:
    """Return, for every layer, the eigenvectors and eigenvalues of its curvature on the training examples.

    The curvature is an expectation over labels with the probabilities that the model predicts. It is computed as a sum over all
    C classes instead of from sampled labels, so the result is deterministic.
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

"""Influence functions with EK-FAC curvature.

Legend: n training examples, N targets, C classes, b and t examples and targets of a chunk, P parameters; of one layer:
T positions, o outputs, i inputs including a constant 1 for the bias.
"""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

import torch

from ldsboard.manifest import BundleError
from worker.baselines import layers
from worker.baselines.gradients import CHUNK_NUMBERS, loss
from worker.baselines.material import Examples

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from worker.baselines.gradients import Function
    from worker.baselines.layers import Pass
    from worker.baselines.material import Material

DAMPING = 0.5
CHUNK = 250
"""Most examples in one forward pass: the patches of all examples at once would need gigabytes in a convolutional network."""


class Eigenbasis(NamedTuple):
    """Eigenvectors and eigenvalues of the curvature of one layer, as EK-FAC approximates them.

    The curvature is ``Q diag(values_oi) Q'``. The eigenvectors are the columns of Q, the Kronecker product of `outputs_oo` and
    `inputs_ii`.
    """

    outputs_oo: torch.Tensor
    inputs_ii: torch.Tensor
    values_oi: torch.Tensor

    def coordinates(self, slopes_bTo: torch.Tensor, inputs_bTi: torch.Tensor) -> torch.Tensor:
        """Return the coordinates of the layer's gradients along the eigenvectors, (b, o i)."""
        return ((slopes_bTo @ self.outputs_oo).mT @ (inputs_bTi @ self.inputs_ii)).flatten(1)


def ek_fac(material: Material, damping: float = DAMPING) -> NDArray[np.float32]:
    """Return the scores of influence functions with EK-FAC, averaged over the reference models, float32 (n, N).

    The score is ``-grad margin(target)' (G + lambda I)^-1 grad loss(example)``. G is the Gauss-Newton matrix of the mean loss,
    approximated by EK-FAC (George et al. 2018, "Fast Approximate Natural Gradient Descent in a Kronecker-factored Eigenbasis";
    Grosse et al. 2023, "Studying Large Language Model Generalization with Influence Functions", section 2.2). G has one block for
    each layer and is zero elsewhere. The eigenvectors of a block come from its Kronecker factors: the second moments of slopes
    and of inputs, summed over positions (for convolutions: Grosse and Martens 2016, "A Kronecker-factored Approximate Fisher
    Matrix for Convolution Layers"). The eigenvalues are the exact second moments of the gradients along these eigenvectors.

    Parameters
    ----------
    material
        Public part of the benchmark.
    damping
        ``lambda`` divided by the mean eigenvalue of G over all layers, so that one value suits models and data of any scale.

    Raises
    ------
    BundleError
        The model has parameters outside linear layers and convolutions with biases, or does not use each of these layers exactly
        once for each example.

    Notes
    -----
    Each model needs 2 C + 1 backward passes and one more for each `CHUNK_NUMBERS` / P targets, matrix products of (n, P) with
    (P, N), and in layers with T > 1 also C products of (o, T) with (T, i) for each example.
    """
    scores_nN = torch.zeros(len(material.train.labels), len(material.target.labels))
    for model in material.models:
        bases = eigenbases(model, material.train)
        values_P = torch.cat([basis.values_oi.flatten() for basis in bases])
        curvature_P = values_P + damping * values_P.mean()
        held = max(1, CHUNK_NUMBERS // len(values_P))
        size = min(CHUNK, held)
        targets = _chunks(material.target, held)
        for scores_nt, target in zip(torch.split(scores_nN, held, dim=1), targets, strict=True):
            target_tP = values_P.new_empty(len(target.labels), len(values_P))
            target_bPs = _coordinates(model, bases, material.recipe.output, target, size)
            for rows_bP, target_bP in zip(torch.split(target_tP, size), target_bPs, strict=True):
                torch.div(target_bP, curvature_P, out=rows_bP)
            train_bPs = _coordinates(model, bases, loss, material.train, size)
            for scores_bt, train_bP in zip(torch.split(scores_nt, size), train_bPs, strict=True):
                scores_bt.sub_(train_bP @ target_tP.T)
    scores: NDArray[np.float32] = (scores_nN / len(material.models)).numpy()
    return scores


def eigenbases(model: nn.Module, train: Examples) -> list[Eigenbasis]:
    """Return, for every layer, the eigenvectors and eigenvalues of its curvature on the training examples.

    The curvature is an expectation over labels with the probabilities that the model predicts. It is computed as a sum over all
    C classes instead of from sampled labels, so the result is deterministic.
    """
    n = len(train.labels)
    inputs_ii = _total([_second_moment(inputs) for inputs in forward.inputs] for forward in _passes(model, train))
    slopes_oo = _total(
        [_second_moment(slopes) for slopes in _class_slopes(forward)] for forward in _passes(model, train)
    )
    vectors = [(_eigenvectors(a / n), _eigenvectors(b / n)) for a, b in zip(slopes_oo, inputs_ii, strict=True)]
    energies_oi = _total(
        [
            _energy(slopes @ outputs_oo, inputs @ inputs_ii)
            for slopes, inputs, (outputs_oo, inputs_ii) in zip(
                _class_slopes(forward), forward.inputs, vectors, strict=True
            )
        ]
        for forward in _passes(model, train)
    )
    return [Eigenbasis(*both, energy_oi / n) for both, energy_oi in zip(vectors, energies_oi, strict=True)]


def _class_slopes(forward: Pass) -> list[torch.Tensor]:
    """Return the slopes (C, b, T, o) of the log-probability of every class, times the square root of the probability."""
    log_p_bC = forward.logits_nC.log_softmax(dim=1)
    roots_Cb11 = log_p_bC.detach().mul(0.5).exp().T[:, :, None, None]
    of_classes = [forward.backward(log_p_b) for log_p_b in log_p_bC.unbind(1)]
    return [torch.stack(of_layer) * roots_Cb11 for of_layer in zip(*of_classes, strict=True)]


def _eigenvectors(moment: torch.Tensor) -> torch.Tensor:
    vectors: torch.Tensor = torch.linalg.eigh(moment).eigenvectors
    return vectors


def _second_moment(vectors: torch.Tensor) -> torch.Tensor:
    """Return the sum of the outer products of the vectors along the last axis with themselves."""
    rows = vectors.flatten(0, -2)
    return rows.T @ rows


def _energy(slopes_CbTo: torch.Tensor, inputs_bTi: torch.Tensor) -> torch.Tensor:
    """Return the sum over classes and examples of the squared gradients, (o, i)."""
    if inputs_bTi.shape[1] == 1:  # the square of a single product is the product of the squares
        return slopes_CbTo[:, :, 0].square().sum(0).T @ inputs_bTi[:, 0].square()
    return _total([(slopes_bTo.mT @ inputs_bTi).square().sum(0)] for slopes_bTo in slopes_CbTo)[0]


def _total(parts: Iterable[list[torch.Tensor]]) -> list[torch.Tensor]:
    """Add the tensors at the same place of all lists."""
    return reduce(lambda total, part: [a.add_(b) for a, b in zip(total, part, strict=True)], parts)


def _coordinates(
    model: nn.Module, bases: list[Eigenbasis], function: Function, examples: Examples, size: int
) -> Iterator[torch.Tensor]:
    """Yield the coordinates of the gradients of a function of logits and labels, (b, P), for chunks of the examples."""
    for forward, labels_b in zip(_passes(model, examples, size), torch.split(examples.labels, size), strict=True):
        slopes = forward.backward(function(forward.logits_nC, labels_b))
        yield torch.cat(
            [basis.coordinates(*each) for basis, *each in zip(bases, slopes, forward.inputs, strict=True)], dim=1
        )


def _passes(model: nn.Module, examples: Examples, size: int = CHUNK) -> Iterator[Pass]:
    """Yield forward passes over chunks of the examples; raise BundleError if `layers.run_forward` does not support the model."""
    for chunk in _chunks(examples, size):
        forward = layers.run_forward(model, chunk, positions=True)
        if forward is None:
            raise BundleError(
                "EK-FAC supports only models of linear layers and two-dimensional convolutions with biases, each used once for "
                "an example; a convolution must have groups=1, and zeros as padding, given as a number. This model has "
                "other parameters or uses a layer twice; use trak instead."
            )
        yield forward


def _chunks(examples: Examples, size: int) -> Iterator[Examples]:
    for inputs, labels in zip(torch.split(examples.inputs, size), torch.split(examples.labels, size), strict=True):
        yield Examples(inputs, labels)

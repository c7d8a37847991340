"""TRAK: a linear model on the gradients of the margin.

Legend: n training examples, N targets, P parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from worker.baselines.gradients import gradients

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from worker.baselines.material import Material

DAMPING = 2.0
CHUNK = 256
"""Examples in one forward pass: all examples at once would need gigabytes in a convolutional network."""


def trak(material: Material, damping: float = DAMPING) -> NDArray[np.float32]:
    """Return the scores of TRAK (Park et al. 2023, "TRAK: Attributing Model Behavior at Scale", equation 17); float32 (n, N).

    The formula is::

        scores = mean over models of (Phi (Phi' Phi + lambda I)^-1 phi') * (mean over models of q)

    - Phi (n, P): gradients of the training examples' margins.
    - phi (N, P): gradients of the targets' margins.
    - q (n, 1): ``sigmoid(-margin)`` of each training example. For the default margin, this is the probability that a model gives
      to all classes but the correct one.

    The paper projects the gradients to few dimensions, which makes Phi' Phi invertible. Here lambda makes the sum invertible.
    Gradients of models of linear layers are exact; gradients of other models with more than `SKETCH_SIZE` parameters are sketched
    (see `gradients`). The code computes ``(Phi Phi' + lambda I)^-1 Phi phi'``. This equals ``Phi (Phi' Phi + lambda I)^-1 phi'``,
    but needs only a linear system of size n instead of P.

    Parameters
    ----------
    material
        Public part of the benchmark.
    damping
        The formula's ``lambda`` is `damping` times the mean squared length of the rows of Phi. Therefore, one value of `damping`
        suits models and data of any scale.

    Notes
    -----
    Each model needs n + N gradients, n (n + N) inner products of gradients, n^3 / 3 operations for a Cholesky factorisation, and
    2 n^2 N operations to solve the system. The inner products are held in memory, as n x n and n x N numbers.
    """
    output, train = material.recipe.output, material.train
    n, N = len(train.labels), len(material.target.labels)
    similarity_nN, error_probability_n = torch.zeros(n, N), torch.zeros(n)
    for model in material.models:
        examples, targets = gradients(model, output, train), gradients(model, output, material.target)
        kernel_nn = examples.products(examples)
        kernel_nn.diagonal().add_(damping * kernel_nn.diagonal().mean())
        similarity_nN += torch.cholesky_solve(examples.products(targets), torch.linalg.cholesky(kernel_nn))
        with torch.no_grad():
            logits_nC = torch.cat([model(inputs) for inputs in torch.split(train.inputs, CHUNK)])
        error_probability_n += torch.sigmoid(-output(logits_nC, train.labels))
    scores: NDArray[np.float32] = (similarity_nN * error_probability_n[:, None] / len(material.models) ** 2).numpy()
    return scores

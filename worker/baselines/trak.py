"""TRAK: a linear model in the gradients of the margin.

Legend: n training examples, N targets, P parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from worker.baselines.gradients import per_example

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from worker.baselines.material import Material

DAMPING = 600.0


def trak(material: Material, damping: float = DAMPING) -> NDArray[np.float32]:
    """Score by TRAK (Park et al. 2023, "TRAK: Attributing Model Behavior at Scale", equation 17); float32 (n, N).

    With Phi (n, P) the gradients of the training examples' margins, phi (N, P) those of the targets and q = 1 - p the
    probability that an example is taken for another class::

        scores = mean over models of (Phi (Phi' Phi + damping I)^-1 phi') * (mean over models of q)

    The paper projects the gradients to few dimensions, which makes Phi' Phi invertible; here a damping does so and nothing is
    projected. ``(Phi Phi' + damping I)^-1 Phi phi'`` is the same and needs an inverse of size n only.

    Costs, for each model, one gradient of every example and target, products of (n, P) with (P, n + N), and n^3 / 3.
    """
    output, train = material.recipe.output, material.train
    n, N = len(train.labels), len(material.target.labels)
    similarity_nN, doubt_n = torch.zeros(n, N), torch.zeros(n)
    for model in material.models:
        train_nP = per_example(model, output, train)
        target_NP = per_example(model, output, material.target)
        kernel_nn = train_nP @ train_nP.T
        kernel_nn.diagonal().add_(damping)
        similarity_nN += torch.cholesky_solve(train_nP @ target_NP.T, torch.linalg.cholesky(kernel_nn))
        with torch.no_grad():
            doubt_n += torch.sigmoid(-output(model(train.inputs), train.labels))
    scores: NDArray[np.float32] = (similarity_nN * doubt_n[:, None] / len(material.models) ** 2).numpy()
    return scores

"""Gradient dot product: the effect of one training step on an example on the margin of a target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.baselines.gradients import gradients, loss

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from worker.baselines.material import Material

MODEL = 0


def grad_dot(material: Material, model: int = MODEL) -> NDArray[np.float32]:
    """Score by ``-grad loss(example) . grad margin(target)``, over all parameters; float32 (n, N).

    A step of gradient descent on an example moves the parameters along the negative gradient of its loss. The score is the
    first-order change of the target's margin, divided by the learning rate, which does not affect ranks. This is
    TracIn (Pruthi et al. 2020, "Estimating Training Data Influence by Tracing Gradient Descent", section 3) with one checkpoint,
    the end of training.

    This needs one gradient for each example and target, and their inner products (exact or sketched: see `gradients`).
    """
    reference = material.models[model]
    train = gradients(reference, loss, material.train)
    target = gradients(reference, material.recipe.output, material.target)
    scores: NDArray[np.float32] = (-train.products(target)).numpy()
    return scores

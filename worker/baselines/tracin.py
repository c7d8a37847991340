"""Gradient dot product: how much one training step on an example changes the margin of a target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.baselines.gradients import gradients, loss

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from worker.baselines.material import Material

MODEL = 0


def grad_dot(material: Material, model: int = MODEL) -> NDArray[np.float32]:
    """Return the scores ``-grad loss(example) . grad margin(target)``, float32 (n, N).

    The gradients are those of one reference model, number `model`, with respect to all parameters. A step of gradient descent on
    an example moves the parameters along the negative gradient of the example's loss. The score is the resulting first-order
    change of the target's margin, divided by the learning rate. This division does not affect ranks.
    The method is TracIn (Pruthi et al. 2020, "Estimating Training Data Influence by Tracing Gradient Descent", section 3) with
    one checkpoint, the end of training.

    The method needs one gradient for each example, one for each target, and the inner products of these gradients (exact or
    sketched: see `gradients`).
    """
    reference = material.models[model]
    train = gradients(reference, loss, material.train)
    target = gradients(reference, material.recipe.output, material.target)
    scores: NDArray[np.float32] = (-train.products(target)).numpy()
    return scores

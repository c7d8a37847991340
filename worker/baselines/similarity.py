"""Similarity of inputs, without any model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from worker.baselines.material import Material


def similarity(material: Material, setting: None = None) -> NDArray[np.float32]:  # noqa: ARG001 -- this method has no setting
    """Return the cosine of a training example's input and a target's input, negated if the labels differ; float32 (n, N).

    A similar example with the same label is expected to raise the margin, a similar example with another label to lower it.
    """
    train, target = material.train, material.target
    cosine_nN = functional.normalize(train.inputs.flatten(1)) @ functional.normalize(target.inputs.flatten(1)).T
    same_nN = train.labels[:, None] == target.labels[None, :]
    scores: NDArray[np.float32] = torch.where(same_nN, cosine_nN, -cosine_nN).numpy()
    return scores

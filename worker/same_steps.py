"""Check that an engine trains a recipe as the recipe's own loop does, before thousands of models are trained with it.

An engine that is faster than the recipe's loop takes some of its choices from elsewhere: the batched engine has a loss and an
update of its own, and the vmapped engine calls other functions of the recipe.

Legend: K models, E epochs, m examples of a subset.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
import torch

from worker import device
from worker.engines import ENGINES
from worker.plan import ConfigurationError

if TYPE_CHECKING:
    from torch import nn

    from worker.training import Trainer

SEQUENTIAL = "sequential"
EXAMPLES, EPOCHS = 8, 2
TOLERANCE = {device.CPU: 1e-3, device.GPU: 0.05}
"""How far the parameters may differ, as a share of how far they moved: rounding in float32, and in bfloat16."""


def require_same_steps(trainer: Trainer) -> None:
    """Train two models for two steps with the engine of the plan and with the recipe's own loop, and compare their parameters.

    Raises
    ------
    ConfigurationError
        The parameters differ by more than rounding.
    """
    plan, recipe = trainer.plan, trainer.recipe
    seeds = [(plan.public_seed, 0, run) for run in range(2)]
    models, order_KEm = trainer.initialise_models(seeds, [np.arange(min(EXAMPLES, len(trainer.labels_n)))] * 2)
    trained = {name: copy.deepcopy(models) for name in (plan.engine, SEQUENTIAL)}
    for name, copies in trained.items():
        ENGINES[name](recipe, copies, trainer.inputs_nd, trainer.labels_n, order_KEm[:, :EPOCHS])
    for start, by_engine, by_loop in zip(models, *trained.values(), strict=True):
        moved = _parameters(by_loop) - _parameters(start)
        share = float((_parameters(by_engine) - _parameters(by_loop)).norm() / moved.norm())
        if not share <= TOLERANCE[trainer.torch_device.type]:
            raise ConfigurationError(
                f"The {plan.engine} engine does not train {recipe.NAME} as the recipe's own loop does: after two steps, the "
                f"parameters differ by {share:.1%} of their change. Use --engine sequential."
            )


def _parameters(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten().double() for parameter in model.parameters()])

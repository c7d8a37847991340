"""Check that an engine trains a recipe as the recipe's own loop does, before thousands of models are trained with it.

An engine that is faster than the recipe's loop takes some of its choices from elsewhere: the batched engine has a loss and an
update of its own, and the vmapped engine calls other functions of the recipe.

Legend: K models, n examples, d inputs, E epochs, m examples of a subset.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from ldsboard.retraining import device
from ldsboard.retraining.engines import ENGINES
from worker.plan import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from ldsboard.retraining.recipe import Recipe

SEQUENTIAL = "sequential"
TOLERANCE = {device.CPU: 1e-3, device.GPU: 0.05}
"""How far the parameters may differ, as a share of how far they moved: rounding in float32, and in bfloat16."""


def require_same_steps(
    engine: str,
    recipe: Recipe,
    models: Sequence[nn.Module],
    inputs_nd: torch.Tensor,
    labels_n: torch.Tensor,
    order_KEm: torch.Tensor,
) -> None:
    """Train copies of models with an engine and with the recipe's own loop, as an `Engine` does; compare them.

    Raises
    ------
    ConfigurationError
        The parameters differ by more than rounding.
    """
    trained = {name: copy.deepcopy(models) for name in (engine, SEQUENTIAL)}
    for name, copies in trained.items():
        ENGINES[name](recipe, copies, inputs_nd, labels_n, order_KEm)
    for start, by_engine, by_loop in zip(models, *trained.values(), strict=True):
        moved = _parameters(by_loop) - _parameters(start)
        share = float((_parameters(by_engine) - _parameters(by_loop)).norm() / moved.norm())
        if not share <= TOLERANCE[inputs_nd.device.type]:
            raise ConfigurationError(
                f"The {engine} engine does not train {recipe.NAME} as the recipe's own loop does: after the first steps, the "
                f"parameters differ by {share:.1%} of their change. Use --engine sequential."
            )


def _parameters(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten().double() for parameter in model.parameters()])

"""The digits recipe, whose models wait to be trained as long as a file is there that the pattern in the variable GATE names.

A process that waits leaves a file named by its number in the folder that the variable WAITING names, if there is one.
So a test knows that a shard is not finished, however slow it is itself and however fast the processes that train.
"""

from __future__ import annotations

import os
import time
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING

from worker.recipes import digits_mlp
from worker.recipes.digits_mlp import ALPHA, DATASET, ENGINE, SETTINGS, batches, build, inputs, order, output, train

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

NAME = TITLE = DESCRIPTION = "gated"
GROUP = 5

__all__ = ["ALPHA", "DATASET", "ENGINE", "SETTINGS", "batches", "build", "inputs", "order", "output", "train"]


def initialise(model: nn.Module, rng: np.random.Generator) -> None:
    while glob(os.environ.get("GATE", "")):  # noqa: PTH207  # the pattern begins at the root
        if folder := os.environ.get("WAITING"):
            (Path(folder) / str(os.getpid())).touch()
        time.sleep(0.01)
    digits_mlp.initialise(model, rng)

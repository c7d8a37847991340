"""The digits recipe, but training waits while a file exists that matches the glob pattern in the environment variable GATE.

A waiting process creates a file named after its pid in the folder WAITING, if that variable is set. With this recipe a test knows
that a shard is unfinished, independent of the speed of the test and of the training processes. In spite of the gate, a process
trains one model for each file in the folder PERMITS, if that variable is set, and deletes the file.
"""

from __future__ import annotations

import os
import time
from glob import glob
from pathlib import Path
from traceback import extract_stack
from typing import TYPE_CHECKING

from worker.recipes import digits_mlp
from worker.recipes.digits_mlp import ALPHA, DATASET, ENGINE, SETTINGS, batches, build, inputs, order, output, train
from worker.same_steps import require_same_steps

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

NAME = TITLE = DESCRIPTION = "gated"
GROUP = 5

__all__ = ["ALPHA", "DATASET", "ENGINE", "SETTINGS", "batches", "build", "inputs", "order", "output", "train"]


def initialise(model: nn.Module, rng: np.random.Generator) -> None:
    # The models that compare the engine with the recipe's loop, before the training, do not wait.
    compared = any(frame.name == require_same_steps.__name__ for frame in extract_stack())
    while not compared and glob(os.environ.get("GATE", "")) and not _use_permit():  # noqa: PTH207  # the pattern is absolute
        if folder := os.environ.get("WAITING"):
            (Path(folder) / str(os.getpid())).touch()
        time.sleep(0.01)
    digits_mlp.initialise(model, rng)


def _use_permit() -> bool:
    for permit in Path(os.environ["PERMITS"]).iterdir() if "PERMITS" in os.environ else ():
        permit.unlink()
        return True
    return False

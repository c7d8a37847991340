"""Score a pulled benchmark with TRAK (Park et al. 2023) of dattri, and submit the tensor.

    pip install dattri==0.3.0
    ldsboard pull digits-mlp
    python examples/with_dattri.py

The server and your token are read from LDSBOARD_SERVER and LDSBOARD_TOKEN, or from what `ldsboard login` stored.
"""

from __future__ import annotations

import sys
from importlib import import_module

import numpy as np
import torch
from dattri.algorithm import TRAKAttributor
from dattri.task import AttributionTask
from safetensors.torch import load_file
from torch.func import functional_call
from torch.utils.data import DataLoader, TensorDataset

import ldsboard
from ldsboard.cache import pulled

BENCHMARK = "digits-mlp"
DAMPING = 0.03  # chosen with `ldsboard score`, which uses only public subsets

public = pulled(BENCHMARK) / "public"
sys.path.insert(0, str(public / "kit"))
recipe = import_module("recipe")


def examples(part: str) -> TensorDataset:
    """Return the inputs and labels of the training examples or of the targets."""
    labels = torch.from_numpy(np.load(public / f"{part}_labels.npy"))
    return TensorDataset(recipe.inputs(np.load(public / f"{part}_images.npy")), labels)


train, target = examples("train"), examples("target")
checkpoints = [load_file(file) for file in sorted((public / "kit").glob("reference-*.safetensors"))]

model = recipe.build()


def margin(weights: dict[str, torch.Tensor], example: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Return the margin of one example, the output function of the benchmark."""
    inputs, label = (part[None] for part in example)
    return recipe.output(functional_call(model, weights, (inputs,)), label)[0]  # type: ignore[no-any-return]


def correct_probability(weights: dict[str, torch.Tensor], example: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Return the probability of one example's class."""
    return margin(weights, example).sigmoid()


task = AttributionTask(margin, model, checkpoints)
attributor = TRAKAttributor(task, correct_probability, {"proj_dim": 1000, "device": "cpu"}, regularization=DAMPING)
attributor.cache(DataLoader(train, 200))
torch.save(attributor.attribute(DataLoader(target, 200)), "scores.pt")

# A practice submission is scored on the public subsets; kind="ranked" uses one of your attempts.
print(ldsboard.submit("scores.pt", benchmark=BENCHMARK, method="dattri-trak", kind="practice"))

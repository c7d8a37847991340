"""Score a pulled benchmark with TracIn (Pruthi et al. 2020) of captum, and submit the tensor.

    pip install captum==0.9.0
    ldsboard pull digits-mlp
    python examples/with_captum.py

The server and your token are read from LDSBOARD_SERVER and LDSBOARD_TOKEN, or from what `ldsboard login` stored.
"""

from __future__ import annotations

import sys
from importlib import import_module

import numpy as np
import torch
from captum.influence import TracInCPFast
from safetensors.torch import load_file
from torch.utils.data import TensorDataset

import ldsboard
from ldsboard.cache import pulled

BENCHMARK = "digits-mlp"

public = pulled(BENCHMARK) / "public"
sys.path.insert(0, str(public / "kit"))
recipe = import_module("recipe")


def examples(part: str) -> TensorDataset:
    """Return the inputs and labels of the training examples or of the targets."""
    labels = torch.from_numpy(np.load(public / f"{part}_labels.npy"))
    return TensorDataset(recipe.inputs(np.load(public / f"{part}_images.npy")), labels)


train, target = examples("train"), examples("target")
checkpoints = [str(file) for file in sorted((public / "kit").glob("reference-*.safetensors"))]


def load(model: torch.nn.Module, checkpoint: str) -> float:
    """Load a reference model, and return its weight in the sum over models."""
    model.load_state_dict(load_file(checkpoint))
    return 1.0


def lost_margin(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the sum of the negative margins: captum explains a loss, which is high where the target is bad."""
    return -recipe.output(logits, labels).sum()  # type: ignore[no-any-return]


model = recipe.build()
tracin = TracInCPFast(
    model,
    model[-1],
    train,
    checkpoints,
    load,
    loss_fn=torch.nn.CrossEntropyLoss(reduction="sum"),
    batch_size=200,
    test_loss_fn=lost_margin,
)
# One row per target: the server transposes the file.
torch.save(tracin.influence(target.tensors), "influence.pt")

# A practice submission is scored on the public subsets; kind="ranked" uses one of your attempts.
print(ldsboard.submit("influence.pt", benchmark=BENCHMARK, method="captum-tracin", kind="practice"))

"""Score a pulled benchmark with EK-FAC influence functions (Grosse et al. 2023), and submit the folder that kronfluence leaves.

    pip install kronfluence==1.0.1
    ldsboard pull digits-mlp
    python examples/with_kronfluence.py

The server and your token are read from LDSBOARD_SERVER and LDSBOARD_TOKEN, or from what `ldsboard login` stored.
"""

from __future__ import annotations

import sys
from importlib import import_module

import numpy as np
import torch
from kronfluence import Analyzer, Task, prepare_model
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy
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


Batch = tuple[torch.Tensor, torch.Tensor]
train, target = examples("train"), examples("target")


class Classification(Task):  # type: ignore[misc]  # a class of any type where kronfluence is not installed
    """The loss of the training, and what is explained."""

    def compute_train_loss(self, batch: Batch, model: torch.nn.Module, sample: bool = False) -> torch.Tensor:
        """Return the summed loss of a batch, for labels of the batch or drawn from the model."""
        inputs, labels = batch
        logits = model(inputs)
        if sample:
            labels = torch.multinomial(logits.detach().softmax(-1), 1).squeeze(-1)
        return cross_entropy(logits, labels, reduction="sum")

    def compute_measurement(self, batch: Batch, model: torch.nn.Module) -> torch.Tensor:
        """Return the sum of the negative margins: a positive score means that the example lowers this measurement."""
        inputs, labels = batch
        return -recipe.output(model(inputs), labels).sum()  # type: ignore[no-any-return]


model = recipe.build()
model.load_state_dict(load_file(public / "kit" / "reference-0.safetensors"))
task = Classification()
analyzer = Analyzer("digits", prepare_model(model, task), task, cpu=True, output_dir="influence_results")
analyzer.fit_all_factors("ekfac", train, per_device_batch_size=200)
analyzer.compute_pairwise_scores(
    "margins", "ekfac", target, train, per_device_query_batch_size=200, per_device_train_batch_size=200
)

# A practice submission is scored on the public subsets; kind="ranked" uses one of your attempts.
folder = "influence_results/digits/scores_margins"
print(ldsboard.submit(folder, benchmark=BENCHMARK, method="kronfluence-ekfac", kind="practice"))

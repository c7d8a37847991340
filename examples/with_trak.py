"""Score a pulled benchmark with TRAK (Park et al. 2023), and submit the file that the package traker leaves.

    pip install traker==0.3.2
    ldsboard pull digits-mlp
    python examples/with_trak.py

The server and your token are read from LDSBOARD_SERVER and LDSBOARD_TOKEN, or from what `ldsboard login` stored.
"""

from __future__ import annotations

import sys
from importlib import import_module

import numpy as np
import torch
from safetensors.torch import load_file
from torch.utils.data import DataLoader, TensorDataset
from trak import TRAKer

import ldsboard
from ldsboard.cache import pulled

BENCHMARK = "digits-mlp"
DAMPING = 30.0  # chosen with `ldsboard score`, which uses only public subsets

public = pulled(BENCHMARK) / "public"
sys.path.insert(0, str(public / "kit"))
recipe = import_module("recipe")


def examples(part: str) -> TensorDataset:
    """Return the inputs and labels of the training examples or of the targets."""
    labels = torch.from_numpy(np.load(public / f"{part}_labels.npy"))
    return TensorDataset(recipe.inputs(np.load(public / f"{part}_images.npy")), labels)


train, target = examples("train"), examples("target")
checkpoints = [load_file(file) for file in sorted((public / "kit").glob("reference-*.safetensors"))]

# The output function of this task is the margin of the benchmark. Half precision is for GPUs.
traker = TRAKer(
    recipe.build(),
    "image_classification",
    len(train),
    save_dir="trak_results",
    device="cpu",
    proj_dim=1000,
    lambda_reg=DAMPING,
    use_half_precision=False,
)
for number, checkpoint in enumerate(checkpoints):
    traker.load_checkpoint(checkpoint, model_id=number)
    for batch in DataLoader(train, 200):
        traker.featurize(batch, num_samples=len(batch[0]))
traker.finalize_features()
for number, checkpoint in enumerate(checkpoints):
    traker.start_scoring_checkpoint("targets", checkpoint, model_id=number, num_targets=len(target))
    for batch in DataLoader(target, 200):
        traker.score(batch, num_samples=len(batch[0]))
traker.finalize_scores("targets")

# A practice submission is scored on the public subsets; kind="ranked" uses one of your attempts.
file = "trak_results/scores/targets.mmap"
print(ldsboard.submit(file, benchmark=BENCHMARK, method="trak", kind="practice"))

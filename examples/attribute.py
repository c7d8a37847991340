"""Compute a score file for a pulled benchmark, with only torch and the benchmark's kit.

    ldsboard pull digits-mlp
    python examples/attribute.py

The method is TRAK (Park et al. 2023) without its projection: ridge regression on the gradients of the margin, averaged over
the reference models. Legend: n training examples, N targets, P parameters.
"""
# ruff: noqa: N816 -- shape suffixes say what a tensor holds

from __future__ import annotations

import sys
from importlib import import_module

import numpy as np
import torch
from safetensors.torch import load_file
from torch.func import functional_call, grad, vmap

from ldsboard.cache import pulled
from ldsboard.invocation import program

BENCHMARK = "digits-mlp"
DAMPING = 600.0  # chosen with `ldsboard score`, which uses only public subsets

public = pulled(BENCHMARK) / "public"
sys.path.insert(0, str(public / "kit"))
recipe = import_module("recipe")


def gradients(model: torch.nn.Module, inputs_nd: torch.Tensor, labels_n: torch.Tensor) -> torch.Tensor:
    """Return the gradients of the examples' margins with respect to all parameters, float32 (n, P)."""
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}

    def margin(parameters: dict[str, torch.Tensor], x_d: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        logits = functional_call(model, parameters, (x_d[None],))
        return recipe.output(logits, label[None])[0]  # type: ignore[no-any-return]

    per_layer = vmap(grad(margin), in_dims=(None, 0, 0))(parameters, inputs_nd, labels_n)
    return torch.cat([layer.flatten(1) for layer in per_layer.values()], dim=1)


train_inputs, target_inputs = (recipe.inputs(np.load(public / f"{part}_images.npy")) for part in ("train", "target"))
train_labels, target_labels = (torch.from_numpy(np.load(public / f"{part}_labels.npy")) for part in ("train", "target"))
influence_nN, error_probability_n = torch.zeros(len(train_labels), len(target_labels)), torch.zeros(len(train_labels))
for file in sorted((public / "kit").glob("reference-*.safetensors")):
    model = recipe.build()
    model.load_state_dict(load_file(file))
    train_nP = gradients(model, train_inputs, train_labels)
    target_NP = gradients(model, target_inputs, target_labels)
    kernel_nn = train_nP @ train_nP.T + DAMPING * torch.eye(len(train_labels))
    influence_nN += torch.linalg.solve(kernel_nn, train_nP @ target_NP.T)
    error_probability_n += torch.sigmoid(-recipe.output(model(train_inputs), train_labels)).detach()

# One row per training example, one column per target. A larger score means a larger margin of the target.
np.save("scores.npy", (influence_nN * error_probability_n[:, None]).numpy())
print(f"scores.npy is written. Score the file offline:  {program('ldsboard')} score scores.npy {BENCHMARK}")
print(f"Submit the file:  {program('ldsboard')} submit scores.npy {BENCHMARK} --method my-method")

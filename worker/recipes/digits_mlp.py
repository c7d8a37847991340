"""Handwritten digits, 8 x 8 pixels, and a small multilayer perceptron. Needs torch and numpy, nothing else.

This file defines completely how the models of the benchmark are trained. To train one model on a subset of the examples::

    inputs, labels = recipe.inputs(images), torch.from_numpy(labels).long()
    rng_initialisation, rng_order = numpy.random.default_rng(1), numpy.random.default_rng(2)
    model = recipe.build()
    recipe.initialise(model, rng_initialisation)
    recipe.train(model, inputs, labels, recipe.order(rng_order, examples))   # examples: their indices
    margins = recipe.output(model(target_inputs), target_labels)

Legend: n examples, d inputs, m examples of a subset, E epochs, N targets, C classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

NAME = "digits-mlp"
TITLE = "Handwritten digits, multilayer perceptron"
DESCRIPTION = "A small network on 1,200 handwritten digits of 8 x 8 pixels, with 597 others as targets."
DATASET = "digits"
ALPHA = 0.5  # fraction of the training examples in each subset
ENGINE, GROUP = "batched", 20  # the fastest: 20 models at once


@dataclass(frozen=True)
class Settings:
    """Every hyper-parameter."""

    widths: tuple[int, ...] = (64, 128, 10)
    initial_scale: float = 0.3  # weights and biases are uniform within this / sqrt(inputs of the layer)
    epochs: int = 12
    batch_size: int = 50  # the last batch of an epoch holds the remaining examples
    learning_rate: float = 0.1  # at the first step; decays to 0 along half a cosine
    momentum: float = 0.9
    weight_decay: float = (
        1e-2  # decoupled: each step first multiplies every parameter by 1 - learning rate x weight_decay
    )


SETTINGS = Settings()


def inputs(images: NDArray[np.uint8]) -> torch.Tensor:
    """Convert images (n, 8, 8) with values 0 to 16 to the model's inputs, float32 (n, 64) from 0 to 1."""
    return torch.from_numpy(images.reshape(len(images), -1).astype(np.float32) / 16)


def build() -> nn.Sequential:
    """Create the model: inputs (n, 64), logits (n, 10)."""
    first, hidden, last = SETTINGS.widths
    return nn.Sequential(nn.Linear(first, hidden), nn.ReLU(), nn.Linear(hidden, last))


def initialise(model: nn.Module, rng: np.random.Generator) -> None:
    """Draw every parameter, layer by layer, weights before biases."""
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.Linear):
                bound = SETTINGS.initial_scale / math.sqrt(layer.in_features)
                for parameter in (layer.weight, layer.bias):
                    values = rng.uniform(-bound, bound, tuple(parameter.shape))
                    parameter.copy_(torch.from_numpy(values))


def order(rng: np.random.Generator, examples: NDArray[np.integer]) -> torch.Tensor:
    """Draw the order in which each epoch visits the examples, given by their indices (m,); int64 (E, m)."""
    return torch.from_numpy(np.stack([rng.permutation(examples).astype(np.int64) for _ in range(SETTINGS.epochs)]))


def batches(order_Em: torch.Tensor) -> Iterator[tuple[torch.Tensor, float]]:
    """Yield the indices of every step's examples along the last axis, and the step's learning rate."""
    epochs, size = order_Em.shape[-2:]
    steps = epochs * math.ceil(size / SETTINGS.batch_size)
    step = 0
    for epoch in range(epochs):
        for batch in torch.split(order_Em[..., epoch, :], SETTINGS.batch_size, dim=-1):
            yield batch, SETTINGS.learning_rate * (1 + math.cos(math.pi * step / steps)) / 2
            step += 1


def train(model: nn.Module, inputs_nd: torch.Tensor, labels_n: torch.Tensor, order_Em: torch.Tensor) -> None:
    """Train a model in place by stochastic gradient descent on the cross-entropy, averaged over each batch."""
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters, lr=SETTINGS.learning_rate, momentum=SETTINGS.momentum)
    for batch, learning_rate in batches(order_Em):
        optimizer.param_groups[0]["lr"] = learning_rate
        loss = functional.cross_entropy(model(inputs_nd[batch]), labels_n[batch])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        with torch.no_grad():
            for parameter in parameters:
                parameter.mul_(1 - learning_rate * SETTINGS.weight_decay)
        optimizer.step()


def output(logits_NC: torch.Tensor, labels_N: torch.Tensor) -> torch.Tensor:
    """Return the margin of every target, (N,): the log-odds of its class, ``z_y - logsumexp(z_j for j != y)``."""
    label_N1 = labels_N.unsqueeze(-1)
    others_N = logits_NC.scatter(-1, label_N1, -math.inf).logsumexp(-1)
    return logits_NC.gather(-1, label_N1).squeeze(-1) - others_N

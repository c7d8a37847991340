"""Photographs, 32 x 32 pixels, and a small convolutional network. Needs torch and numpy, nothing else.

This file defines completely how the models of the benchmark are trained. To train one model on a subset of the examples::

    inputs, labels = recipe.inputs(images), torch.from_numpy(labels).long()
    rng_initialisation, rng_order, rng_augmentation = map(numpy.random.default_rng, (1, 2, 3))
    model = recipe.build()
    recipe.initialise(model, rng_initialisation)
    visits = recipe.visits(rng_augmentation, recipe.order(rng_order, examples))   # examples: their indices
    recipe.train(model, inputs, labels, visits)
    margins = recipe.output(model(target_inputs), target_labels)

Legend: n examples, m examples of a subset, E epochs, B examples of a step, s rows or columns, N targets, C classes; an image is
(3, s, s), colours first.
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
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

NAME = "cifar10-5k-convnet"
TITLE = "CIFAR-10, small convolutional network"
DESCRIPTION = "Three convolutions on 5,000 training images of CIFAR-10, with 1,000 test images as targets."
DATASET = "cifar10-5k"
ALPHA = 0.5  # fraction of the training examples in each subset
MEAN = np.array([0.4914, 0.4822, 0.4465], np.float32)  # of the 50,000 training images, by colour
STANDARD_DEVIATION = np.array([0.2470, 0.2435, 0.2616], np.float32)
ENGINE, GROUP = "sequential", 1  # the fastest on a CPU: one model after the other


@dataclass(frozen=True)
class Settings:
    """Every hyper-parameter."""

    widths: tuple[int, ...] = (16, 32, 64)
    epochs: int = 16
    batch_size: int = 50  # the last batch of an epoch holds the remaining examples
    learning_rate: float = 0.03  # at its peak; rises linearly from 0, then falls linearly to 0
    peak: float = 0.2  # fraction of all steps before the peak
    momentum: float = 0.9
    weight_decay: float = 0.01  # each gradient has weight_decay x parameter added
    flip: float = 0.5  # fraction of visits with the image mirrored left to right


SETTINGS = Settings()


def inputs(images: NDArray[np.uint8]) -> torch.Tensor:
    """Convert images (n, 32, 32, 3) to the model's inputs, float32 (n, 3, 32, 32), each colour of mean 0 and variance 1."""
    pixels = images.astype(np.float32) / 255
    return torch.from_numpy((pixels - MEAN) / STANDARD_DEVIATION).permute(0, 3, 1, 2).contiguous()


def build() -> nn.Sequential:
    """Create the model: inputs (n, 3, 32, 32), logits (n, 10). Pooling before ReLU gives the same as after it, in less time."""
    first, second, third = SETTINGS.widths
    return nn.Sequential(
        nn.Conv2d(3, first, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(first, second, 3, padding=1),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(second, third, 3, padding=1),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16 * third, 10),
    )


def initialise(model: nn.Module, rng: np.random.Generator) -> None:
    """Draw every parameter, layer by layer, weights before biases, uniform within 1 / sqrt(fan-in)."""
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                bound = 1 / math.sqrt(layer.weight[0].numel())
                for parameter in layer.parameters():  # weight, then bias
                    parameter.copy_(torch.from_numpy(rng.uniform(-bound, bound, tuple(parameter.shape))))


def order(rng: np.random.Generator, examples: NDArray[np.integer]) -> torch.Tensor:
    """Return the indices of the examples, given as (m,), in a random order for each epoch: int64 (E, m)."""
    return torch.from_numpy(np.stack([rng.permutation(examples).astype(np.int64) for _ in range(SETTINGS.epochs)]))


def visits(rng: np.random.Generator, order_Em: torch.Tensor) -> torch.Tensor:
    """Draw the visits, int64 (E, m, 2): index of the example, 1 if flipped."""
    flip_Em = (rng.random(tuple(order_Em.shape)) < SETTINGS.flip).astype(np.int64)
    return torch.stack([order_Em, torch.from_numpy(flip_Em)], dim=-1)


def batches(visits_Em2: torch.Tensor) -> Iterator[tuple[torch.Tensor, float]]:
    """Yield the visits of every step, (B, 2), and the step's learning rate. Leading axes of the visits are kept."""
    epochs, size = visits_Em2.shape[-3:-1]
    steps = epochs * math.ceil(size / SETTINGS.batch_size)
    peak, end = SETTINGS.peak * steps, steps + 1
    step = 0
    for epoch in range(epochs):
        for batch in torch.split(visits_Em2[..., epoch, :, :], SETTINGS.batch_size, dim=-2):
            step += 1  # from 1 to end - 1, so that no step has a learning rate of 0
            yield batch, SETTINGS.learning_rate * min(step / peak, (end - step) / (end - peak))


def altered(inputs_n3ss: torch.Tensor, visits_B2: torch.Tensor) -> torch.Tensor:
    """Return the images of the visits of a step, (B, 3, s, s), some of them mirrored."""
    example_B, flip_B = visits_B2.unbind(-1)
    images = inputs_n3ss[example_B]
    return torch.where(flip_B[:, None, None, None] == 1, images.flip(-1), images)


def loss(model: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor, labels_B: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of a model on images (B, 3, s, s), averaged over them."""
    return functional.cross_entropy(model(images), labels_B)


def optimizer(parameters: Iterable[torch.Tensor]) -> torch.optim.Optimizer:
    """Create the optimizer: stochastic gradient descent with momentum."""
    momentum, decay = SETTINGS.momentum, SETTINGS.weight_decay
    return torch.optim.SGD(parameters, SETTINGS.learning_rate, momentum=momentum, weight_decay=decay, fused=True)


def train(model: nn.Module, inputs_n3ss: torch.Tensor, labels_n: torch.Tensor, visits_Em2: torch.Tensor) -> None:
    """Train a model in place."""
    layout = torch.channels_last  # the fastest memory layout of images and filters, on CPU and GPU
    model.train().to(memory_format=layout)  # type: ignore[call-overload]  # missing in torch's stub
    # The images, then their mirrored copies: a visit is then one gather.
    both_n3ss = torch.cat([inputs_n3ss, inputs_n3ss.flip(-1)]).contiguous(memory_format=layout)
    descent = optimizer(model.parameters())
    for visits_B2, learning_rate in batches(visits_Em2):
        example_B, flip_B = visits_B2.unbind(-1)
        descent.param_groups[0]["lr"] = learning_rate
        descent.zero_grad()
        images = both_n3ss[example_B + len(inputs_n3ss) * flip_B]
        torch.autograd.backward(loss(model, images, labels_n[example_B]))
        descent.step()


def output(logits_NC: torch.Tensor, labels_N: torch.Tensor) -> torch.Tensor:
    """Return the margin of every target, (N,): the log-odds of its class, ``z_y - logsumexp(z_j for j != y)``."""
    label_N1 = labels_N.unsqueeze(-1)
    others_N = logits_NC.scatter(-1, label_N1, -math.inf).logsumexp(-1)
    return logits_NC.gather(-1, label_N1).squeeze(-1) - others_N

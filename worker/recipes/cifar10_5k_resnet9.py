"""Photographs, 32 x 32 pixels, and a ResNet-9. Needs torch and numpy, nothing else.

This file defines completely how the models of the benchmark are trained. To train one model on a subset of the examples::

    inputs, labels = recipe.inputs(images), torch.from_numpy(labels).long()
    rng_initialisation, rng_order, rng_augmentation = map(numpy.random.default_rng, (1, 2, 3))
    model = recipe.build()
    recipe.initialise(model, rng_initialisation)
    visits = recipe.visits(rng_augmentation, recipe.order(rng_order, examples))   # examples: their indices
    recipe.train(model, inputs, labels, visits)
    margins = recipe.output(model.eval()(target_inputs), target_labels)

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

NAME = "cifar10-5k-resnet9"
TITLE = "CIFAR-10, ResNet-9"
DESCRIPTION = "A ResNet-9 on 5,000 training images of CIFAR-10, with 1,000 test images as targets."
DATASET = "cifar10-5k"
ALPHA = 0.5  # fraction of the training examples in each subset
MEAN = np.array([0.4914, 0.4822, 0.4465], np.float32)  # of the 50,000 training images, by colour
STANDARD_DEVIATION = np.array([0.2470, 0.2435, 0.2616], np.float32)
ENGINE, GROUP = "sequential", 1  # the fastest on a CPU: one model after the other


@dataclass(frozen=True)
class Settings:
    """Every hyper-parameter."""

    widths: tuple[int, ...] = (64, 128, 256, 128)
    output_scale: float = 0.2  # factor of the logits, so that the model is not overconfident in the first steps
    epochs: int = 24
    batch_size: int = 512  # the last batch of an epoch holds the remaining examples
    learning_rate: float = 0.5  # at its peak; rises linearly from 0, then falls linearly to 0
    peak_epoch: float = 5.0
    momentum: float = 0.9
    weight_decay: float = 5e-4  # each gradient has weight_decay x parameter added
    label_smoothing: float = 0.1
    flip: float = 0.5  # fraction of visits with the image mirrored left to right
    translate: int = 2  # at most so many pixels along each axis; new pixels are reflected at the edge


SETTINGS = Settings()


def inputs(images: NDArray[np.uint8]) -> torch.Tensor:
    """Convert images (n, 32, 32, 3) to the model's inputs, float32 (n, 3, 32, 32), each colour of mean 0 and variance 1."""
    pixels = images.astype(np.float32) / 255
    return torch.from_numpy((pixels - MEAN) / STANDARD_DEVIATION).permute(0, 3, 1, 2).contiguous()


class Residual(nn.Module):
    """Adds the output of its layers to its input."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``x + layers(x)``."""
        added: torch.Tensor = x + self.layers(x)
        return added


class Scale(nn.Module):
    """Multiplies by a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``factor * x``."""
        return self.factor * x


def convolution(entering: int, leaving: int, size: int = 3, stride: int = 1, padding: int = 1) -> nn.Sequential:
    """Create a convolution without bias, with batch normalisation and ReLU."""
    layer = nn.Conv2d(entering, leaving, size, stride, padding, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(leaving), nn.ReLU())


def build() -> nn.Sequential:
    """Create the model: inputs (n, 3, 32, 32), logits (n, 10). In evaluation, batch normalisation uses running averages."""
    first, second, third, last = SETTINGS.widths
    return nn.Sequential(
        convolution(3, first),
        convolution(first, second, size=5, stride=2, padding=2),
        Residual(convolution(second, second), convolution(second, second)),
        convolution(second, third),
        nn.MaxPool2d(2),
        Residual(convolution(third, third), convolution(third, third)),
        convolution(third, last, padding=0),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Linear(last, 10, bias=False),
        Scale(SETTINGS.output_scale),
    )


def initialise(model: nn.Module, rng: np.random.Generator) -> None:
    """Draw every weight, layer by layer, uniform within 1 / sqrt(fan-in); batch normalisation starts with scale 1 and shift 0."""
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                bound = 1 / math.sqrt(layer.weight[0].numel())
                layer.weight.copy_(torch.from_numpy(rng.uniform(-bound, bound, tuple(layer.weight.shape))))


def order(rng: np.random.Generator, examples: NDArray[np.integer]) -> torch.Tensor:
    """Return the indices of the examples, given as (m,), in a random order for each epoch: int64 (E, m)."""
    return torch.from_numpy(np.stack([rng.permutation(examples).astype(np.int64) for _ in range(SETTINGS.epochs)]))


def visits(rng: np.random.Generator, order_Em: torch.Tensor) -> torch.Tensor:
    """Draw the visits, int64 (E, m, 4): index of the example, 1 if flipped, pixels down, pixels right."""
    shape, reach = tuple(order_Em.shape), SETTINGS.translate
    flip_Em1 = (rng.random((*shape, 1)) < SETTINGS.flip).astype(np.int64)
    shift_Em2 = rng.integers(-reach, reach + 1, (*shape, 2))
    return torch.cat([order_Em.unsqueeze(-1), torch.from_numpy(flip_Em1), torch.from_numpy(shift_Em2)], dim=-1)


def batches(visits_Em4: torch.Tensor) -> Iterator[tuple[torch.Tensor, float]]:
    """Yield the visits of every step, (B, 4), and the step's learning rate. Leading axes of the visits are kept."""
    epochs, size = visits_Em4.shape[-3:-1]
    in_epoch = math.ceil(size / SETTINGS.batch_size)
    peak, end = SETTINGS.peak_epoch * in_epoch, epochs * in_epoch + 1
    step = 0
    for epoch in range(epochs):
        for batch in torch.split(visits_Em4[..., epoch, :, :], SETTINGS.batch_size, dim=-2):
            step += 1  # from 1 to end - 1, so that no step has a learning rate of 0
            yield batch, SETTINGS.learning_rate * min(step / peak, (end - step) / (end - peak))


def altered(inputs_n3ss: torch.Tensor, visits_B4: torch.Tensor) -> torch.Tensor:
    """Return the augmented images of the visits of a step, (B, 3, s, s): flipped, then moved, in one gather."""
    example_B, flip_B, down_B, right_B = visits_B4.unbind(-1)
    last = inputs_n3ss.shape[-1] - 1
    line_s = torch.arange(last + 1, device=inputs_n3ss.device)
    colour_3 = torch.arange(3, device=inputs_n3ss.device)

    def moved(by_B: torch.Tensor) -> torch.Tensor:
        """Return which original row (or column) each row (or column) of the moved images shows, (B, s). Edges reflect."""
        return last - (last - (line_s - by_B[:, None]).abs()).abs()

    row_Bs, column_Bs = moved(down_B), moved(right_B)
    column_Bs = torch.where(flip_B[:, None] == 1, last - column_Bs, column_Bs)
    return inputs_n3ss[
        example_B[:, None, None, None], colour_3[:, None, None], row_Bs[:, None, :, None], column_Bs[:, None, None, :]
    ]


def loss(model: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor, labels_B: torch.Tensor) -> torch.Tensor:
    """Return the smoothed cross-entropy of a model on images (B, 3, s, s), averaged over them."""
    # The only difference on a GPU: convolutions and matrix products use bfloat16. Parameters and loss are always float32.
    with torch.autocast("cuda", torch.bfloat16, enabled=images.is_cuda):
        logits_BC = model(images)
    return functional.cross_entropy(logits_BC.float(), labels_B, label_smoothing=SETTINGS.label_smoothing)


def optimizer(parameters: Iterable[torch.Tensor]) -> torch.optim.Optimizer:
    """Create the optimizer: stochastic gradient descent with momentum."""
    momentum, decay = SETTINGS.momentum, SETTINGS.weight_decay
    return torch.optim.SGD(parameters, SETTINGS.learning_rate, momentum=momentum, weight_decay=decay)


def train(model: nn.Module, inputs_n3ss: torch.Tensor, labels_n: torch.Tensor, visits_Em4: torch.Tensor) -> None:
    """Train a model in place."""
    layout = torch.channels_last  # the fastest memory layout of images and filters, on CPU and GPU
    model.train().to(memory_format=layout)  # type: ignore[call-overload]  # missing in torch's stub
    descent = optimizer(model.parameters())
    for visits_B4, learning_rate in batches(visits_Em4):
        images = altered(inputs_n3ss, visits_B4).contiguous(memory_format=layout)
        descent.param_groups[0]["lr"] = learning_rate
        descent.zero_grad()
        torch.autograd.backward(loss(model, images, labels_n[visits_B4[:, 0]]))
        descent.step()


def output(logits_NC: torch.Tensor, labels_N: torch.Tensor) -> torch.Tensor:
    """Return the margin of every target, (N,): the log-odds of its class, ``z_y - logsumexp(z_j for j != y)``."""
    label_N1 = labels_N.unsqueeze(-1)
    others_N = logits_NC.scatter(-1, label_N1, -math.inf).logsumexp(-1)
    return logits_NC.gather(-1, label_N1).squeeze(-1) - others_N

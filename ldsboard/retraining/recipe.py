"""The interface of a recipe, which defines how the models of a benchmark are trained.

Legend: n examples, d inputs (of an image: colours, rows, columns), m examples of a subset, B examples of a step,
E epochs, K models of a group, N targets, C classes. `a` is how many numbers describe the augmentation of an example.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import nn


class Settings(Protocol):
    """Hyper-parameters that every recipe has, in a frozen dataclass. A recipe can have more hyper-parameters."""

    @property
    def batch_size(self) -> int:
        """Number of examples in a step."""

    @property
    def momentum(self) -> float:
        """Factor of the previous velocity in each step."""

    @property
    def weight_decay(self) -> float:
        """Factor of weight decay.

        In the batched engine, weight decay is decoupled: a step multiplies each parameter by 1 - learning rate x weight decay,
        and the velocity contains no weight decay.
        """


class Recipe(Protocol):
    """Interface of a recipe module, which defines how the models of a benchmark are trained."""

    @property
    def NAME(self) -> str:
        """Name of the benchmark, in kebab case."""

    @property
    def TITLE(self) -> str:
        """Title of the benchmark in one line."""

    @property
    def DESCRIPTION(self) -> str:
        """Description of the benchmark in a few sentences."""

    @property
    def DATASET(self) -> str:
        """Name of a data set in ``worker.data``, or path of an ``.npz`` file."""

    @property
    def ALPHA(self) -> float:
        """Fraction of the training examples that each subset holds."""

    @property
    def ENGINE(self) -> str:
        """Name of the default engine."""

    @property
    def GROUP(self) -> int:
        """Default number of models that train at once (K)."""

    @property
    def SETTINGS(self) -> Any:
        """Every hyper-parameter: a frozen dataclass with at least the fields of `Settings`."""

    def inputs(self, images: NDArray[np.uint8], /) -> torch.Tensor:
        """Convert images to inputs of the model, float32 (n, d), on the CPU."""

    def build(self) -> nn.Module:
        """Return a new model. The caller then draws its parameters with `initialise`."""

    def initialise(self, model: nn.Module, rng: np.random.Generator, /) -> None:
        """Draw every parameter of a model, in place."""

    def order(self, rng: np.random.Generator, examples: NDArray[np.integer], /) -> torch.Tensor:
        """Return the indices `examples` (m,) in a random order for each epoch, int64 (E, m)."""

    def batches(self, order_Em: torch.Tensor, /) -> Iterator[tuple[torch.Tensor, float]]:
        """Yield the example indices and the learning rate of every step.

        The indices have shape (B,) for the order of one model, (E, m), and shape (K, B) for the orders of K models, (K, E, m).
        The batched engine stacks orders and labels, (2, K, E, m), and needs slices of both, (2, K, B).
        """

    def train(
        self, model: nn.Module, inputs_nd: torch.Tensor, labels_n: torch.Tensor, order_Em: torch.Tensor, /
    ) -> None:
        """Train a model in place. Every engine must give the same model as this function, up to rounding."""

    def output(self, logits_NC: torch.Tensor, labels_N: torch.Tensor, /) -> torch.Tensor:
        """Return the margin of every target, (N,), from logits (N, C) and labels (N,).

        The trainer passes the logits of K models at once, (K, N, C), with labels (K, N), and needs margins (K, N).
        """


@runtime_checkable
class Augmenting(Protocol):
    """Additional interface of a recipe with data augmentation; its `batches` and `train` take visits in place of the order.

    A visit is the index of an example and the parameters of its augmentation. All visits are drawn before training, so the
    augmentation does not depend on the engine, the device or other models of the group.
    """

    def visits(self, rng: np.random.Generator, order_Em: torch.Tensor, /) -> torch.Tensor:
        """Draw the visits for an order; int64 (E, m, 1 + a), with the index of the example first."""


@runtime_checkable
class Stackable(Protocol):
    """Additional functions that a recipe needs for the vmapped engine, which calls them instead of the recipe's `train`."""

    def altered(self, inputs_nd: torch.Tensor, visits_B: torch.Tensor, /) -> torch.Tensor:
        """Return the inputs of a step, (B, d).

        `visits_B` has one row for each example of the step, (B, 1 + a): the index of the example, and the a parameters of its
        augmentation. In a recipe without augmentation, it holds only the indices, (B,).
        """

    def loss(
        self, model: Callable[[torch.Tensor], torch.Tensor], inputs_Bd: torch.Tensor, labels_B: torch.Tensor, /
    ) -> torch.Tensor:
        """Return the mean loss of one model over the examples of a step."""

    def optimizer(self, parameters: Iterable[torch.Tensor], /) -> torch.optim.Optimizer:
        """Create an optimizer of these parameters.

        The parameters of several models are stacked, so an update of one element must not depend on other elements.
        """


def has_convolutions(model: nn.Module) -> bool:
    """Return whether a model has convolutions."""
    return any("Conv" in type(layer).__name__ for layer in model.modules())

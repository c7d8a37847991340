"""What the trainer asks of a recipe, and the list of models that a benchmark consists of.

Legend: n examples, d inputs (of an image: colours, rows, columns), m examples of a subset, E epochs, N targets, C classes,
a numbers that say how an example is altered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import nn


class Settings(Protocol):
    """The hyper-parameters that every recipe has; it may have more. A frozen dataclass."""

    @property
    def batch_size(self) -> int:
        """Examples in a step."""

    @property
    def momentum(self) -> float:
        """Share of the last step's velocity that is kept."""

    @property
    def weight_decay(self) -> float:
        """How strongly parameters are drawn to 0; the batched engine takes it decoupled, as the recipe `digits-mlp` does."""


class Recipe(Protocol):
    """How one benchmark's models are made: the interface of a module in ``worker.recipes``."""

    @property
    def NAME(self) -> str:
        """Name of the benchmark, in kebab case."""

    @property
    def TITLE(self) -> str:
        """One line for people."""

    @property
    def DESCRIPTION(self) -> str:
        """A few sentences for people."""

    @property
    def DATASET(self) -> str:
        """Name of its data in ``worker.data``, or the path of an ``.npz`` file."""

    @property
    def ALPHA(self) -> float:
        """Fraction of the examples in each subset."""

    @property
    def ENGINE(self) -> str:
        """Name of the engine that trains it, unless another is asked for."""

    @property
    def GROUP(self) -> int:
        """How many models train at once (K), unless another number is asked for."""

    @property
    def SETTINGS(self) -> Any:
        """Every hyper-parameter: a frozen dataclass with at least the fields of `Settings`."""

    def inputs(self, images: NDArray[np.uint8], /) -> torch.Tensor:
        """Turn images into the model's inputs, float32, on the CPU."""

    def build(self) -> nn.Module:
        """Make a model."""

    def initialise(self, model: nn.Module, rng: np.random.Generator, /) -> None:
        """Draw every parameter."""

    def order(self, rng: np.random.Generator, examples: NDArray[np.integer], /) -> torch.Tensor:
        """Draw the order in which each epoch visits the examples; int64 (E, m)."""

    def batches(self, order_Em: torch.Tensor, /) -> Iterator[tuple[torch.Tensor, float]]:
        """Yield indices and learning rate of every step; leading axes of the order stay."""

    def train(
        self, model: nn.Module, inputs_nd: torch.Tensor, labels_n: torch.Tensor, order_Em: torch.Tensor, /
    ) -> None:
        """Train a model in place: the reference for every engine."""

    def output(self, logits_NC: torch.Tensor, labels_N: torch.Tensor, /) -> torch.Tensor:
        """Return the margin of every target, (N,)."""


@runtime_checkable
class Augmenting(Protocol):
    """What a recipe has besides if it alters examples while it trains; its `batches` and `train` then take visits for the order.

    A visit is the index of an example and how it is altered this time. All are drawn before training, so that an augmentation
    depends on no engine, device or model beside it.
    """

    def visits(self, rng: np.random.Generator, order_Em: torch.Tensor, /) -> torch.Tensor:
        """Draw what each visit shows of its example; int64 (E, m, 1 + a), the index first."""


@runtime_checkable
class Stackable(Protocol):
    """What a recipe has besides if several of its models can train at once, whatever their layers: the parts of its `train`."""

    def altered(self, inputs_nd: torch.Tensor, visits_B: torch.Tensor, /) -> torch.Tensor:
        """Return the inputs (B, d) of the examples that visits (B, 1 + a) show; of indices (B,) where there are no visits."""

    def loss(
        self, model: Callable[[torch.Tensor], torch.Tensor], inputs_Bd: torch.Tensor, labels_B: torch.Tensor, /
    ) -> torch.Tensor:
        """Return the loss of one model on the examples of a step, averaged over them."""

    def optimizer(self, parameters: Iterable[torch.Tensor], /) -> torch.optim.Optimizer:
        """Make the optimizer of one model, which treats every number among its parameters like any other."""


def convolves(model: nn.Module) -> bool:
    """Tell whether there are convolutions in a model."""
    return any("Conv" in type(layer).__name__ for layer in model.modules())


class Model(NamedTuple):
    """One model of a benchmark: which part it belongs to, which subset it trains on, and which run of it this is."""

    part: str  # "public" or "hidden"
    subset: int
    run: int


def list_models(subsets: dict[str, int], runs: int) -> list[Model]:
    """List the models of a benchmark in their one order: by part, subset and run."""
    return [
        Model(part, subset, run) for part, count in subsets.items() for subset in range(count) for run in range(runs)
    ]

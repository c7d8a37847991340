"""Engines train a group of models. All give the same models, up to rounding; they differ in speed.

Legend: K models of a group, n examples, d inputs, m examples of a subset, E epochs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from worker.engines.batched import train_batched
from worker.engines.sequential import train_sequential
from worker.engines.vmapped import train_vmapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import nn

    from worker.models import Recipe


class Engine(Protocol):
    """Trains a group of initialised models in place, each in its own order of its own examples."""

    def __call__(
        self,
        recipe: Recipe,
        models: Sequence[nn.Module],
        inputs_nd: torch.Tensor,
        labels_n: torch.Tensor,
        order_KEm: torch.Tensor,
        /,
    ) -> None:
        """Train them; `order_KEm` holds indices of examples, int64."""


ENGINES: dict[str, Engine] = {"batched": train_batched, "sequential": train_sequential, "vmapped": train_vmapped}

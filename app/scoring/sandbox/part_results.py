"""The result of a scoring process, as the service reads it from the answer."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from app.scoring.sandbox.attributions import Attributions

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class PartResult:
    """The result of one file on the public subsets, the ranking subsets or the reserve. Legend: M of these subsets, N targets."""

    numbers: dict[str, Any]
    """Scalars of the result, as `app.scoring.sandbox.scoring_process.numbers` returns them."""
    influence: NDArray[np.float64]
    """psi of each subset, float64 (M,)."""
    per_target: NDArray[np.float64]
    """rho of each target, float64 (N,)."""
    attributions: Attributions | None = None
    """Attributions of the file in the result on the public subsets; None in the other results."""


def unpack(parts: dict[str, Any], packed: bytes) -> dict[str, PartResult]:
    """Return the results in the two messages of an answer: the `parts` of the JSON, and the ``.npz`` with the arrays."""
    with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
        shown = {"public": Attributions(**{name: arrays[f"attributions.{name}"] for name in Attributions._fields})}
        return {
            name: PartResult(numbers, arrays[f"{name}.influence"], arrays[f"{name}.per_target"], shown.get(name))
            for name, numbers in parts.items()
        }

"""The list of models of a benchmark."""

from __future__ import annotations

from typing import NamedTuple


class Model(NamedTuple):
    """Identity of one model: the part of the benchmark, the number of the subset in this part, and the number of the run."""

    part: str  # "public" or "hidden"
    subset: int
    run: int


def list_models(subsets: dict[str, int], runs: int) -> list[Model]:
    """List the models of a benchmark, ordered by part, subset and run."""
    return [
        Model(part, subset, run) for part, count in subsets.items() for subset in range(count) for run in range(runs)
    ]

"""Shards: what was trained, in files that stand for themselves. A shard that exists under its name is complete.

Models are numbered in their one order (`worker.models.list_models`). They train in groups of K consecutive ones, and a shard is a
number of whole groups, so a group holds the same models whatever the size of the shards, and gives the same bytes.

Legend: k models of a shard, M subsets, R runs, N targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ldsboard.drafts import UNREADABLE, drafted

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray


class ShardError(ValueError):
    """A shard is missing, damaged or of another configuration; the message says which and what to do."""


@dataclass(frozen=True)
class Shard:
    """The models numbered `start` up to `stop`, trained.

    Attributes
    ----------
    start, stop
        Numbers of its first model, and of the one after its last.
    models
        Part, subset and run of every model, as text (k, 3).
    margins
        float32 (k, N).
    accuracy, loss
        Share of the targets classified rightly, and mean cross-entropy on them, float64 (k,).
    seconds
        Processor time that the training took.
    """

    start: int
    stop: int
    models: NDArray[np.str_]
    margins: NDArray[np.float32]
    accuracy: NDArray[np.float64]
    loss: NDArray[np.float64]
    seconds: float

    def write(self, folder: Path, configuration: str) -> None:
        """Write the shard in one step: it is there whole, or not at all."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / shard_name(self.start, self.stop)
        with drafted(path) as file:
            np.savez(file, configuration=np.array(configuration), **vars(self))

    @classmethod
    def read(cls, path: Path, configuration: str) -> Shard:
        """Read a shard.

        Raises
        ------
        ShardError
            It is damaged, or was trained with another configuration.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                members: dict[str, Any] = {name: arrays[name] for name in arrays.files}
            got = str(members.pop("configuration"))
            shard = cls(**members | {name: members[name].item() for name in ("start", "stop", "seconds")})
        except UNREADABLE as error:
            raise ShardError(
                f"{path} is damaged ({str(error) or type(error).__name__}). Delete it and train again."
            ) from error
        if got != configuration:
            raise ShardError(
                f"{path} was trained with another configuration: expected {configuration}, got {got}. "
                "Delete it, or choose another folder."
            )
        return shard


def shard_name(start: int, stop: int) -> str:
    """Return the file name of the shard of models `start` up to `stop`."""
    return f"models-{start:06d}-{stop:06d}.npz"


def cut(models: int, size: int, group: int) -> list[range]:
    """Cut models into shards of a size.

    Raises
    ------
    ShardError
        The size is not a multiple of the group's.
    """
    if size < 1 or size % group:
        raise ShardError(
            f"expected a shard size that is a multiple of {group}, the number of models that train together, got {size}"
        )
    return [range(start, min(start + size, models)) for start in range(0, models, size)]


def read_all(folder: Path, configuration: str) -> list[Shard]:
    """Read every shard in a folder, in order of their first model."""
    return [Shard.read(path, configuration) for path in sorted(folder.glob("models-*.npz"))]


def missing(shards: Iterable[Shard], models: int) -> set[int]:
    """Return the numbers of all models that no shard holds."""
    return set(range(models)).difference(*(range(shard.start, shard.stop) for shard in shards))


def stretches(numbers: set[int]) -> list[range]:
    """Return the stretches of consecutive numbers, in order."""
    starts = sorted(number for number in numbers if number - 1 not in numbers)
    stops = sorted(number + 1 for number in numbers if number + 1 not in numbers)
    return [range(start, stop) for start, stop in zip(starts, stops, strict=True)]


def as_ranges(numbers: set[int]) -> str:
    """Write numbers as ranges, such as ``20-39, 60-79``."""
    return ", ".join(f"{stretch[0]}-{stretch[-1]}" for stretch in stretches(numbers))

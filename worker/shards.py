"""Shards: files with the results of consecutive models. A shard file is always complete.

Models are numbered in the order of `worker.models.list_models` and train in groups of K consecutive models. A shard holds whole
groups. So the shard size changes neither which models train together nor any bit of their results.

Legend: k models of a shard, M subsets, R runs, N targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ldsboard.drafts import NPZ_ERRORS, atomic_write

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray


class ShardError(ValueError):
    """A shard is missing, damaged or of another configuration. The message names the shard and says what to do."""


@dataclass(frozen=True)
class Shard:
    """Results of the models `start` to `stop` - 1.

    Attributes
    ----------
    start, stop
        Number of the first model, and of the last model plus 1.
    models
        Part, subset and run of every model, text (k, 3).
    margins
        Margins, float32 (k, N).
    accuracy, loss
        Fraction of targets classified correctly, and mean cross-entropy on the targets, float64 (k,).
    seconds
        Processor time of training and evaluating all models of the shard together, in seconds.
    """

    start: int
    stop: int
    models: NDArray[np.str_]
    margins: NDArray[np.float32]
    accuracy: NDArray[np.float64]
    loss: NDArray[np.float64]
    seconds: float

    def write(self, folder: Path, configuration: str) -> None:
        """Write the shard into a folder, atomically, with the digest of its configuration; the file is complete or absent."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / shard_name(self.start, self.stop)
        with atomic_write(path) as file:
            np.savez(file, configuration=np.array(configuration), **vars(self))

    @classmethod
    def read(cls, path: Path, configuration: str) -> Shard:
        """Read a shard, and check that it was trained with the configuration that has the digest `configuration`.

        Raises
        ------
        ShardError
            The file is damaged, or the shard was trained with another configuration.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                members: dict[str, Any] = {name: arrays[name] for name in arrays.files}
            found = str(members.pop("configuration"))
            shard = cls(**members | {name: members[name].item() for name in ("start", "stop", "seconds")})
        except NPZ_ERRORS as error:
            raise ShardError(
                f"{path} is damaged ({str(error) or type(error).__name__}). Delete the file and repeat the training command."
            ) from error
        if found != configuration:
            raise ShardError(
                f"{path} was trained with another configuration: expected the digest {configuration}, got {found}. "
                "Delete the file, or choose another folder."
            )
        return shard


def shard_name(start: int, stop: int) -> str:
    """Return the file name of the shard of models `start` to `stop` - 1."""
    return f"models-{start:06d}-{stop:06d}.npz"


def split_into_shards(models: int, size: int, group: int) -> list[range]:
    """Split the numbers of all models into ranges of `size` numbers, one for each shard; the last range can be shorter.

    Raises
    ------
    ShardError
        The size is not a multiple of the group size.
    """
    if size < 1 or size % group:
        raise ShardError(
            f"expected a shard size that is a multiple of {group}, the number of models that train at once, got {size}"
        )
    return [range(start, min(start + size, models)) for start in range(0, models, size)]


def read_shards(folder: Path, configuration: str) -> list[Shard]:
    """Read all shards in a folder, and return them in the order of their first models; a missing folder has no shards.

    Raises
    ------
    ShardError
        A file is damaged, or a shard was not trained with the configuration that has the digest `configuration`.
    """
    return [Shard.read(path, configuration) for path in sorted(folder.glob("models-*.npz"))]


def missing_models(shards: Iterable[Shard], models: int) -> set[int]:
    """Return the numbers of the models that no shard holds."""
    return set(range(models)).difference(*(range(shard.start, shard.stop) for shard in shards))


def consecutive_ranges(numbers: set[int]) -> list[range]:
    """Return ranges of consecutive numbers that together contain exactly these numbers, in order."""
    starts = sorted(number for number in numbers if number - 1 not in numbers)
    stops = sorted(number + 1 for number in numbers if number + 1 not in numbers)
    return [range(start, stop) for start, stop in zip(starts, stops, strict=True)]


def format_ranges(numbers: set[int]) -> str:
    """Format numbers as ranges, such as ``20-39, 60-79``."""
    return ", ".join(f"{part[0]}-{part[-1]}" for part in consecutive_ranges(numbers))

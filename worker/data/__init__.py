"""Data sets by the names that recipes call them, one file each. Nothing here knows a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from worker.data.cifar10 import cifar10_5k
from worker.data.dataset import DataError, Dataset, Part
from worker.data.fashion import fashion5k
from worker.data.optdigits import digits
from worker.data.own import own

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DATASETS", "DataError", "Dataset", "Part", "cifar10_5k", "digits", "fashion5k", "load"]

DATASETS: dict[str, Callable[[], Dataset]] = {
    "digits": digits,
    "fashion5k": fashion5k,
    "cifar10-5k": cifar10_5k,
}
"""Every data set that the project knows, by name."""


def load(name: str) -> Dataset:
    """Return a data set by its name, or one's own by the path of its ``.npz`` file, relative to the working folder.

    Raises
    ------
    DataError
        There is none, it is nowhere to be had, or it is damaged.
    """
    if name.endswith(".npz"):
        return own(Path(name))
    if name not in DATASETS:
        raise DataError(
            f"expected one of the data sets {', '.join(DATASETS)}, or a path that ends in .npz, got {name!r}"
        )
    return DATASETS[name]()

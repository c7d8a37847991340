"""Data sets by name. Recipes refer to these names; no data set depends on a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from worker.data.cifar10 import cifar10_5k
from worker.data.dataset import DataError, Dataset, Part
from worker.data.fashion import fashion5k
from worker.data.optdigits import digits
from worker.data.own import load_npz

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DATASETS", "DataError", "Dataset", "Part", "cifar10_5k", "digits", "fashion5k", "load"]

DATASETS: dict[str, Callable[[], Dataset]] = {
    "digits": digits,
    "fashion5k": fashion5k,
    "cifar10-5k": cifar10_5k,
}
"""Data sets of the project, by name."""


def load(name: str) -> Dataset:
    """Return the data set with this name. A name that ends in ``.npz`` is the path of a file with a user's data set.

    If ``LDSBOARD_CIFAR10`` is not set, the first call for ``cifar10-5k`` downloads CIFAR-10 into the cache.

    Raises
    ------
    DataError
        The name is unknown, or the data set is unavailable or damaged.
    """
    if name.endswith(".npz"):
        return load_npz(Path(name))
    if name not in DATASETS:
        raise DataError(
            f"expected one of the data sets {', '.join(DATASETS)}, or a path that ends in .npz, got {name!r}"
        )
    return DATASETS[name]()

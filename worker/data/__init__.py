"""Data sets by the names that recipes call them, one file each; nothing here knows a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.data.cifar10 import cifar10_5k
from worker.data.dataset import DataError, Dataset, Part
from worker.data.fashion import fashion5k
from worker.data.optdigits import digits

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DATASETS", "DataError", "Dataset", "Part", "cifar10_5k", "digits", "fashion5k"]

DATASETS: dict[str, Callable[[], Dataset]] = {
    "digits": digits,
    "fashion5k": fashion5k,
    "cifar10-5k": cifar10_5k,
}
"""Every data set by the name that recipes call it."""

"""Data sets: real images, split once into training examples and targets.

Legend: n training examples, N targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

DIGITS_SPLIT_SEED = 0


@dataclass(frozen=True)
class Part:
    """Training examples or targets: uint8 images, int64 labels, and which rows of the source they are."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    index: NDArray[np.int64]


@dataclass(frozen=True)
class Dataset:
    """Images with labels, split; `about` says in the manifest what they are and under which licence they ship."""

    train: Part
    target: Part
    about: dict[str, Any]
    licence: str

    @property
    def parts(self) -> dict[str, Part]:
        """The two parts by name."""
        return {"train": self.train, "target": self.target}

    def describe(self) -> dict[str, Any]:
        """Return name, source and the sha256 of every decoded array."""
        digests = {
            f"{name}_{array}": sha256(np.ascontiguousarray(getattr(part, array)).tobytes()).hexdigest()
            for name, part in self.parts.items()
            for array in ("images", "labels", "index")
        }
        return self.about | {"sha256": digests}


def digits() -> Dataset:
    """Load the 1,797 handwritten digits that come with scikit-learn: 1,200 to train on, 597 targets; values 0 to 16."""
    from sklearn.datasets import load_digits  # noqa: PLC0415  # takes a second, and only this data set needs it

    source = load_digits()
    images, labels = source.images.astype(np.uint8), source.target.astype(np.int64)
    index = np.random.default_rng(DIGITS_SPLIT_SEED).permutation(len(images))

    def part(rows: NDArray[np.int64]) -> Part:
        return Part(images[rows], labels[rows], rows)

    about = {
        "name": "Optical Recognition of Handwritten Digits",
        "source": "UCI Machine Learning Repository (Alpaydin and Kaynak), its test set, as shipped with scikit-learn",
        "split": f"numpy.random.default_rng({DIGITS_SPLIT_SEED}).permutation(1797): the first 1,200 to train on",
    }
    return Dataset(part(index[:1200]), part(index[1200:]), about, licence="CC BY 4.0")


DATASETS: dict[str, Callable[[], Dataset]] = {"digits": digits}
"""Every data set by the name that recipes call it."""

"""The handwritten digits of scikit-learn, named "optdigits" in the UCI repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from worker.data.dataset import Dataset, Part

if TYPE_CHECKING:
    from numpy.typing import NDArray

SPLIT_SEED = 0


def digits() -> Dataset:
    """Load the 1,797 handwritten digits: 1,200 training examples, 597 targets; uint8, 8 x 8, values 0 to 16."""
    from sklearn.datasets import load_digits  # noqa: PLC0415  # importing takes a second, and only this data set needs it

    source = load_digits()
    images, labels = source.images.astype(np.uint8), source.target.astype(np.int64)
    index = np.random.default_rng(SPLIT_SEED).permutation(len(images))

    def part(rows: NDArray[np.int64]) -> Part:
        return Part(images[rows], labels[rows], rows)

    about = {
        "name": "Optical Recognition of Handwritten Digits",
        "source": "UCI Machine Learning Repository (Alpaydin and Kaynak), its test set, as shipped with scikit-learn",
        "split": f"numpy.random.default_rng({SPLIT_SEED}).permutation(1797): the first 1,200 to train on",
    }
    return Dataset(part(index[:1200]), part(index[1200:]), about, licence="CC BY 4.0")

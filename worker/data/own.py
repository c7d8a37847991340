"""A user's data set in an ``.npz`` file.

The file holds the images train_images (n, ...) and target_images (N, ...), uint8, and the labels train_labels (n,) and
target_labels (N,), integers from 0. It can hold the texts name, source and licence. Without a licence, a benchmark with this data
set does not contain the images. Legend: n training examples, N targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ldsboard.drafts import NPZ_ERRORS
from worker.data.dataset import DataError, Dataset, Part

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray


def load_npz(path: Path) -> Dataset:
    """Read a data set from an ``.npz`` file.

    Raises
    ------
    DataError
        The file is missing or damaged, an array is missing or has a wrong type, images and labels differ in number, or a label
        is negative.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except NPZ_ERRORS as error:
        raise DataError(
            f"Cannot read {path} as an .npz file of arrays: {str(error) or type(error).__name__}."
        ) from error
    texts = {key: str(arrays[key]) for key in ("name", "source", "licence") if key in arrays}
    about = {"name": path.stem, "source": "not stated"} | texts
    licence = about.pop("licence", "")
    return Dataset(_part(arrays, "train"), _part(arrays, "target"), about, licence or "not stated", bool(licence))


def _part(arrays: Mapping[str, NDArray[np.generic]], name: str) -> Part:
    try:
        images, labels = arrays[f"{name}_images"], arrays[f"{name}_labels"]
    except KeyError as error:
        raise DataError(f"expected the arrays {name}_images and {name}_labels, got {', '.join(arrays)}") from error
    if images.dtype != np.uint8 or labels.dtype.kind not in "iu" or labels.shape != images.shape[:1] or not labels.size:
        raise DataError(
            f"expected {name}_images uint8 (n, ...) and {name}_labels integers (n,), n > 0, got {images.dtype} {images.shape} "
            f"and {labels.dtype} {labels.shape}. Store images of another type as bytes: values.astype('float32').view('uint8')."
        )
    if labels.min() < 0:
        raise DataError(f"expected {name}_labels from 0, got {labels.min()}. Number the classes 0, 1, 2, ...")
    return Part(images.astype(np.uint8), labels.astype(np.int64), np.arange(len(labels)))

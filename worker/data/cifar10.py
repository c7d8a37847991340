"""CIFAR-10 (Krizhevsky 2009): colour photographs, 32 x 32 pixels, ten classes.

The variable ``LDSBOARD_CIFAR10`` can name the archive ``cifar-10-python.tar.gz``, its folder ``cifar-10-batches-py``, or an
``.npz`` file of the examples used here (x_train, y_train, train_index, x_test, y_test, test_index). If the variable is not set,
the official archive is downloaded. The photographs have no licence, so no benchmark ships them.
"""

from __future__ import annotations

import os
import tarfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np

from ldsboard.formats.array_pickles import load_arrays
from worker.data import downloads
from worker.data.dataset import DataError, Dataset, Part

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

VARIABLE = "LDSBOARD_CIFAR10"
URL = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
ARCHIVE_SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
FOLDER = "cifar-10-batches-py"
DIGESTS = {
    "train_images": "8ed800dfd8f17bb9d8922112293045c000f29a0128707d972c74f3ca5ce949d2",
    "train_labels": "c08b5c3c3c5c69296f1b8c82e584881aa613b671b785da110d200d7bccc3061b",
    "train_index": "f1b4a79be1b3a291819db2ec1cadbf854915f4c7ec87608091f54a1812584ec5",
    "target_images": "da362006b99671213d1a5d856cab2bedf64d40bad4501630ee60f4ceb2d3ec7f",
    "target_labels": "6327b0e49549c8cf6ad65317a0fb463ec49ade30d02f63daec6b149052db4922",
    "target_index": "702746827e553786bb026ac120cb58745fef3d3f554c33891809001cc37639f0",
}
BATCHES, BATCH_SIZE, PER_BATCH = 5, 10_000, 1000
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# Errors of tarfile, numpy and pickle for files of another format.
READ_ERRORS = (
    OSError,
    EOFError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    BadZipFile,
    tarfile.TarError,
    zlib.error,
)


def cifar10_5k() -> Dataset:
    """Load 1,000 photographs of each of the five training batches and, as targets, 1,000 of the test batch; uint8, 32 x 32 x 3.

    Raises
    ------
    DataError
        CIFAR-10 is unavailable, or its arrays differ from the published arrays.
    """
    return read(find()).verified(DIGESTS)


def find(url: str = URL) -> Path:
    """Return the path in the variable ``LDSBOARD_CIFAR10``.

    If the variable is not set, return the path of the official archive in the cache, and download the archive if it is missing.

    Raises
    ------
    DataError
        The variable is not set, and the download fails.
    """
    if given := os.environ.get(VARIABLE):
        return Path(given)
    try:
        return downloads.fetch(url, ARCHIVE_SHA256)
    except DataError as error:
        raise DataError(
            f"Cannot find CIFAR-10: {VARIABLE} is not set, and the download failed. {error} "
            f"Set {VARIABLE} to cifar-10-python.tar.gz or to the folder {FOLDER}."
        ) from error


def read(path: Path) -> Dataset:
    """Read the examples of `cifar10_5k` from the archive, from its unpacked folder, or from an ``.npz`` file.

    Raises
    ------
    DataError
        The file is missing, damaged or of another format.
    """
    try:
        if path.suffix == ".npz":
            train, target = _from_npz(path)
        elif path.is_dir():
            train, target = _from_batches(lambda name: (path / name).read_bytes())
        else:
            with tarfile.open(path, "r:gz") as archive:
                train, target = _from_batches(lambda name: _member(archive, f"{FOLDER}/{name}"))
    except READ_ERRORS as error:
        raise DataError(f"Cannot read CIFAR-10 at {path}: {error}. Check the path in {VARIABLE}.") from error
    about = {
        "name": "CIFAR-10",
        "source": "https://www.cs.toronto.edu/~kriz/cifar.html (Krizhevsky 2009)",
        "split": "the first 1,000 of each of the five training batches to train on, the first 1,000 of the test batch as targets",
    }
    return Dataset(
        train, target, about, licence="Apache-2.0, photographs not included", ships_images=False, classes=CLASSES
    )


def _from_npz(path: Path) -> tuple[Part, Part]:
    with np.load(path, allow_pickle=False) as arrays:
        train, target = (
            Part(arrays[f"x_{name}"], arrays[f"y_{name}"].astype(np.int64), arrays[f"{name}_index"])
            for name in ("train", "test")
        )
    return train, target


def _from_batches(content: Callable[[str], bytes]) -> tuple[Part, Part]:
    train = [_batch(content(f"data_batch_{i + 1}"), i * BATCH_SIZE) for i in range(BATCHES)]
    joined = (np.concatenate([getattr(part, name) for part in train]) for name in ("images", "labels", "index"))
    return Part(*joined), _batch(content("test_batch"), 0)


def _batch(content: bytes, start: int) -> Part:
    """Return the first 1,000 examples of a batch file; their row numbers in the source are `start`, `start` + 1, ….

    `content` holds the bytes of the file. A row of the file holds 1,024 red, then 1,024 green, then 1,024 blue pixels.
    """
    members = load_arrays(content, encoding="latin1")
    pixels: NDArray[np.uint8] = members["data"][:PER_BATCH].reshape(PER_BATCH, 3, 32, 32).transpose(0, 2, 3, 1)
    return Part(np.ascontiguousarray(pixels), np.array(members["labels"][:PER_BATCH]), start + np.arange(PER_BATCH))


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    if (file := archive.extractfile(name)) is None:
        raise ValueError(f"{name} is not a file")
    return file.read()

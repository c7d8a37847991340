"""Fashion-MNIST (Xiao, Rasul and Vollgraf 2017): pictures of clothes, 28 x 28 grey pixels, ten classes; MIT licence.

The source is the folder in ``LDSBOARD_FASHION_MNIST`` with the four official files. If the variable is not set, the source is the
benchmark that the project ships, which holds the same examples. Only the decoded arrays are verified, since mirrors can compress
the files differently.
"""

from __future__ import annotations

import gzip
import os
import zlib
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ldsboard.drafts import NPZ_ERRORS
from worker.data.dataset import DataError, Dataset, Part

if TYPE_CHECKING:
    from numpy.typing import NDArray

VARIABLE = "LDSBOARD_FASHION_MNIST"
SHIPPED = Path(__file__).parents[2] / "benchmarks" / "fashion5k-mlp" / "public"
"""Folder with the public arrays of the shipped benchmark in this checkout."""

DIGESTS = {
    "train_images": "29c8d9f398a29fc328af7ba681dfc3bd86ec4075b43ba2ff985128028b9b3f00",
    "train_labels": "7cdfc83ade375471612026ea824d242762134f6ac5599344697806a4410c050a",
    "target_images": "8d46efb2efae7259de048298adb99140d06082b91c430833a54d7ce30f21c9c9",
    "target_labels": "204202495be82cb26f3ae3e23f4ea2c1cba8b64b0e03d04acaa36af68ffc0847",
}
TRAIN, TARGETS = 5000, 1000
CLASSES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
UBYTE = 8  # the code of unsigned bytes in an idx header


def fashion5k() -> Dataset:
    """Load the first 5,000 training images and, as targets, the first 1,000 test images; uint8, 28 x 28.

    Raises
    ------
    DataError
        The files are missing or damaged, or their arrays differ from the published arrays.
    """
    given = os.environ.get(VARIABLE)
    return (read(Path(given)) if given else read_shipped()).verified(DIGESTS)


def read_shipped(folder: Path = SHIPPED) -> Dataset:
    """Read the examples from the public arrays of the shipped benchmark.

    Raises
    ------
    DataError
        An array is missing or damaged.
    """

    def array(name: str) -> NDArray[Any]:
        try:
            return np.asarray(np.load(folder / f"{name}.npy", allow_pickle=False))
        except NPZ_ERRORS as error:
            raise DataError(
                f"Cannot read {name}.npy of Fashion-MNIST in {folder}: {error}. "
                f"Restore the file from the repository, or set {VARIABLE} to a folder with the four official files."
            ) from error

    def part(name: str, count: int) -> Part:
        return Part(array(f"{name}_images"), array(f"{name}_labels"), np.arange(count))

    return _dataset(part("train", TRAIN), part("target", TARGETS))


def read(folder: Path) -> Dataset:
    """Read the examples from a folder with the four official files, compressed or not.

    Raises
    ------
    DataError
        A file is missing or damaged.
    """

    def part(name: str, count: int) -> Part:
        images = read_idx(_find_file(folder / f"{name}-images-idx3-ubyte"), count, (28, 28))
        labels = read_idx(_find_file(folder / f"{name}-labels-idx1-ubyte"), count, ())
        return Part(images, labels.astype(np.int64), np.arange(count))

    return _dataset(part("train", TRAIN), part("t10k", TARGETS))


def _dataset(train: Part, target: Part) -> Dataset:
    about = {
        "name": "Fashion-MNIST",
        "source": "https://github.com/zalandoresearch/fashion-mnist (Xiao, Rasul and Vollgraf 2017)",
        "split": "the first 5,000 training images to train on, the first 1,000 test images as targets",
    }
    return Dataset(train, target, about, licence="MIT", classes=CLASSES)


def read_idx(path: Path, count: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the first `count` items of an idx file of unsigned bytes, uint8 (count, *shape). A ``.gz`` file is decompressed.

    The header is two zero bytes, the type, the number of dimensions, and each dimension as 4 bytes, big-endian.

    Raises
    ------
    DataError
        The file is damaged, or holds items of another shape or too few items.
    """
    kind = bytes([0, 0, UBYTE, 1 + len(shape)])
    sizes = b"".join(size.to_bytes(4, "big") for size in shape)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            header, content = file.read(8 + len(sizes)), file.read(count * prod(shape))
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"Cannot read the idx file {path}: {error}. Download the file again.") from error
    if (header[:4], header[8:]) != (kind, sizes) or len(content) < count * prod(shape):
        raise DataError(
            f"The idx file {path} does not hold {count} items of shape {shape}, unsigned bytes. Download the file again."
        )
    return np.frombuffer(content, np.uint8).reshape(count, *shape)


def _find_file(path: Path) -> Path:
    compressed = path.with_name(f"{path.name}.gz")
    found = [candidate for candidate in (compressed, path) if candidate.exists()]
    if not found:
        raise DataError(
            f"{path.parent} holds neither {compressed.name} nor {path.name}. Check the folder in {VARIABLE}."
        )
    return found[0]

"""Images that a benchmark ships without, from the operator's own copy: taken only if they are the ones it was made with."""

from __future__ import annotations

import io
from hashlib import sha256
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from ldsboard.manifest import Manifest

PARTS = ("train", "target")


class ImagesError(ValueError):
    """The images cannot be added to a benchmark; the message says why and what to do."""


def find_images(path: Path, manifest: Manifest) -> dict[str, bytes]:
    """Return the files ``train_images.npy`` and ``target_images.npy`` of a benchmark, as bytes.

    Parameters
    ----------
    path
        An ``.npz`` file, or a folder of ``.npy`` files. Their names tell nothing: an array is known by the sha256 of its content.
    manifest
        Of the benchmark, whose ``dataset.sha256`` states what it was made with.

    Raises
    ------
    ImagesError
        The benchmark has its images, or does not say which they are; or they are not at this path.
    """
    if set(manifest.files) & {_file(part) for part in PARTS}:
        raise ImagesError(
            f"expected a benchmark without images, got {manifest.name}, which has them. Leave out --images."
        )
    stated = manifest.dataset.get("sha256", {})
    wanted = {stated[f"{part}_images"]: part for part in PARTS if f"{part}_images" in stated}
    if len(wanted) < len(PARTS):
        raise ImagesError(
            f"expected a benchmark that states the sha256 of its images, got none in {manifest.name}. Leave out --images."
        )
    counts = {"train": manifest.n_train, "target": manifest.n_targets}
    found: dict[str, bytes] = {}
    for array in _arrays(path):
        part = wanted.get(sha256(np.ascontiguousarray(array).tobytes()).hexdigest())
        if part is not None and array.dtype == np.uint8 and array.shape[:1] == (counts[part],):
            file = io.BytesIO()
            np.save(file, array)
            found[_file(part)] = file.getvalue()
    if absent := {_file(part) for part in PARTS} - set(found):
        raise ImagesError(
            f"expected the images that {manifest.name} was made with at {path}, got no array of the stated sha256 for "
            f"{', '.join(sorted(absent))}. Give an .npz file, or a folder of .npy files, with both, uint8 and in the order of "
            "the labels."
        )
    return found


def _file(part: str) -> str:
    return f"{part}_images.npy"


def _arrays(path: Path) -> Iterator[NDArray[np.generic]]:
    try:
        if path.is_dir():
            for file in sorted(path.glob("*.npy")):
                yield np.load(file, allow_pickle=False)
        else:
            with np.load(path, allow_pickle=False) as archive:
                yield from (np.asarray(archive[name]) for name in archive.files)  # other files in it are bytes
    except (OSError, ValueError, BadZipFile, TypeError) as error:  # the last where the file is a single array
        raise ImagesError(f"expected an .npz file or a folder of .npy files at {path}, got: {error}") from error

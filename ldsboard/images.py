"""Images for a benchmark that is distributed without images: read from one's own copy, and verified by SHA-256."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

from ldsboard.drafts import NPZ_ERRORS
from ldsboard.manifest import BundleError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from ldsboard.manifest import Manifest


class ImagesError(BundleError):
    """The images of a benchmark cannot be used; the message says why and what to do."""


def find_images(path: Path, manifest: Manifest) -> dict[str, NDArray[np.uint8]]:
    """Find the images of a benchmark; return the arrays ``train_images`` and ``target_images``, by name.

    Parameters
    ----------
    path
        An ``.npz`` file, or a folder of ``.npy`` files. Array names are ignored; arrays are identified by the SHA-256 of their
        content. An image array is uint8, with n_train or n_targets as its first dimension.
    manifest
        Manifest of the benchmark; its ``dataset.sha256`` states the hashes of the images.

    Raises
    ------
    ImagesError
        The benchmark already has images, or does not state the hashes of images; or `path` is unreadable or lacks an image array.
    """
    counts = {"train_images": manifest.n_train, "target_images": manifest.n_targets}
    if any(f"{name}.npy" in manifest.files for name in counts):
        raise ImagesError(f"The benchmark {manifest.name} already has images. Leave out --images.")
    stated = manifest.dataset.get("sha256", {})
    wanted = {stated[name]: name for name in counts if name in stated}
    if len(wanted) < len(counts):
        raise ImagesError(f"The benchmark {manifest.name} does not state the sha256 of its images. Leave out --images.")
    found: dict[str, NDArray[np.uint8]] = {}
    for array in _arrays(path):
        name = wanted.get(sha256(np.ascontiguousarray(array).tobytes()).hexdigest())
        if name is not None and array.dtype == np.uint8 and array.shape[:1] == (counts[name],):
            found[name] = array.astype(np.uint8, copy=False)
    if absent := {f"{name}.npy" for name in counts if name not in found}:
        raise ImagesError(
            f"{path} has no array with the sha256 that {manifest.name} states for {', '.join(sorted(absent))}. "
            "Give an .npz file or a folder of .npy files, with the training images and the target images as uint8 arrays, "
            "each in the order of its labels."
        )
    return found


def _arrays(path: Path) -> Iterator[NDArray[np.generic]]:
    try:
        if path.is_dir():
            for file in sorted(path.glob("*.npy")):
                yield np.load(file, allow_pickle=False)
        else:
            with np.load(path, allow_pickle=False) as archive:
                # `archive` returns bytes for a member that is no array.
                yield from (np.asarray(archive[name]) for name in archive.files)
    except NPZ_ERRORS as error:
        raise ImagesError(
            f"{path} cannot be read: {str(error) or type(error).__name__}. Give an .npz file, or a folder of .npy files."
        ) from error

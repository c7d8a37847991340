"""Labels, images and margins of the training examples and targets of a published benchmark.

This module reads only public files, which were verified when the benchmark was published.

Legend: M public subsets, R runs, N targets; h, w pixels.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from app.benchmarks.catalog import version_folder
from ldsboard.arrays.margins import mean_over_runs
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from app.db.models import Version

ExampleSet = Literal["train", "target"]


class Examples:
    """The training examples and targets of one version.

    Arrays are opened when they are first needed, and stay open as long as the instance exists. To build a page, create one
    instance, and use that instance for all examples on the page.

    Parameters
    ----------
    root
        Folder of all published benchmarks.
    """

    def __init__(self, root: Path, version: Version) -> None:
        self.manifest: dict[str, Any] = version.manifest
        self._folder = version_folder(root, version.benchmark.name, version.version) / "public"
        self._arrays: dict[str, NDArray[Any]] = {}

    @cached_property
    def has_images(self) -> bool:
        """Whether the images of training examples and targets are public and can be drawn."""
        names = ("train_images", "target_images")
        return all(self._has(name) and is_drawable(self._array(name)) for name in names)

    def label(self, part: ExampleSet, index: int) -> str | None:
        """Return the class name of an example, or a text such as ``label 7`` if the class has no name; None without labels."""
        if not self._has(f"{part}_labels"):
            return None
        number = int(self._array(f"{part}_labels")[index])
        classes = self.manifest["dataset"].get("classes")
        has_name = isinstance(classes, list) and 0 <= number < len(classes)
        return str(classes[number]) if has_name else f"label {number}"

    def image(self, part: ExampleSet, index: int) -> NDArray[np.uint8]:
        """Return the pixels of an example, uint8 (h, w) or (h, w, 3), scaled so that the brightest training pixel is 255.

        Raises
        ------
        ProblemError
            ``request.not_found``: the example does not exist or has no image.
        """
        count = self.manifest["n_train" if part == "train" else "n_targets"]
        if not self.has_images or index >= count:
            raise ProblemError(
                "request.not_found",
                f"{self.manifest['name']} has no {part} image {index}; its {part} images have numbers 0 to {count - 1}."
                if self.has_images
                else f"{self.manifest['name']} has no public images that can be drawn.",
                "The page of a scored submission links to the images.",
            )
        pixels: NDArray[np.uint8] = self._array(f"{part}_images")[index]
        return np.round(np.minimum(pixels / _max_pixel(self._folder / "train_images.npy"), 1) * 255).astype(np.uint8)

    def margins(self, target: int) -> NDArray[np.float64]:
        """Return the margins of a target on the public subsets, averaged over runs, float64 (M,)."""
        margins_MRN = self._array("margins")[: self.manifest["subsets"]["public"]]
        return mean_over_runs(margins_MRN[:, :, [target]])[:, 0]

    def _has(self, name: str) -> bool:
        return f"{name}.npy" in self.manifest["files"]

    def _array(self, name: str) -> NDArray[Any]:
        if name not in self._arrays:
            self._arrays[name] = np.load(self._folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        return self._arrays[name]


def is_drawable(images: NDArray[Any]) -> bool:
    """Return whether images can be drawn: uint8 of shape (count, h, w) or (count, h, w, 3)."""
    grey, colours = 3, 4
    return images.dtype == np.uint8 and (images.ndim == grey or (images.ndim == colours and images.shape[-1] == 3))  # noqa: PLR2004


@lru_cache(maxsize=64)
def _max_pixel(path: Path) -> int:
    return max(1, int(np.load(path, mmap_mode="r", allow_pickle=False).max()))

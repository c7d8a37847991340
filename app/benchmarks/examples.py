"""The training examples and targets of a published benchmark, as people see them: labels, pictures, and margins.

Only public files are read; they were verified when the benchmark was published.

Legend: M public subsets, R runs, N targets; h, w pixels.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from app.benchmarks.catalog import version_folder
from ldsboard.margins import mean_over_runs
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from app.db.models import Version

Part = Literal["train", "target"]


class Examples:
    """The examples of one version, for as long as a page is made: what was opened stays open.

    Parameters
    ----------
    root
        Where published benchmarks are kept.
    """

    def __init__(self, root: Path, version: Version) -> None:
        self.manifest: dict[str, Any] = version.manifest
        self._folder = version_folder(root, version.benchmark.name, version.version) / "public"
        self._arrays: dict[str, NDArray[Any]] = {}

    @cached_property
    def have_pictures(self) -> bool:
        """Whether the benchmark may show its images, and they can be drawn: grey (h, w), or colours last, (h, w, 3)."""
        return all(
            self._has(f"{part}_images") and drawable(self._array(f"{part}_images")) for part in ("train", "target")
        )

    def label(self, part: Part, index: int) -> str | None:
        """Return the class of an example by its name, where the data set states its ``classes``, or else by its number.

        None where labels are unknown.
        """
        if not self._has(f"{part}_labels"):
            return None
        number = int(self._array(f"{part}_labels")[index])
        classes = self.manifest["dataset"].get("classes")
        named = isinstance(classes, list) and 0 <= number < len(classes)
        return str(classes[number]) if named else f"label {number}"

    def picture(self, part: Part, index: int) -> NDArray[np.uint8]:
        """Return the pixels of an example, uint8 (h, w) or (h, w, 3); the brightest of all training examples is 255.

        Raises
        ------
        ProblemError
            ``request.not_found``: there is no such example, or it has no picture.
        """
        count = self.manifest["n_train" if part == "train" else "n_targets"]
        if not self.have_pictures or index >= count:
            raise ProblemError(
                "request.not_found",
                expected=f"one of {count} pictures" if self.have_pictures else "a benchmark whose images may be shown",
                got=f"{part} {index} of {self.manifest['name']}",
                hint="The pages of submissions link to the pictures that there are.",
            )
        pixels: NDArray[np.uint8] = self._array(f"{part}_images")[index]
        return np.round(np.minimum(pixels / _brightest(self._folder / "train_images.npy"), 1) * 255).astype(np.uint8)

    def margins(self, target: int) -> NDArray[np.float64]:
        """Return the margins of a target on the public subsets, their mean over runs, float64 (M,)."""
        margins_MRN = self._array("margins")[: self.manifest["subsets"]["public"]]
        return mean_over_runs(margins_MRN[:, :, [target]])[:, 0]

    def _has(self, name: str) -> bool:
        return f"{name}.npy" in self.manifest["files"]

    def _array(self, name: str) -> NDArray[Any]:
        if name not in self._arrays:
            self._arrays[name] = np.load(self._folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        return self._arrays[name]


def drawable(images: NDArray[Any]) -> bool:
    """Tell whether images, the first axis their number, can be drawn."""
    grey, colours = 3, 4
    return images.dtype == np.uint8 and (images.ndim == grey or (images.ndim == colours and images.shape[-1] == 3))  # noqa: PLR2004


@lru_cache(maxsize=64)
def _brightest(path: Path) -> int:
    return max(1, int(np.load(path, mmap_mode="r", allow_pickle=False).max()))

"""A data set: images with labels, split into training examples and targets.

Legend: n training examples, N targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


class DataError(ValueError):
    """A data set is unavailable or differs from the expected data set. The message says what to do."""


@dataclass(frozen=True)
class Part:
    """Training examples or targets: uint8 images, int64 labels, and int64 row numbers in the source."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    index: NDArray[np.int64]


@dataclass(frozen=True)
class Dataset:
    """Training examples and targets, with a description of the data set.

    Attributes
    ----------
    train, target
        Training examples and targets.
    about
        Name, source and split, for the manifest.
    licence
        Licence of a benchmark with this data set.
    ships_images
        Whether a benchmark contains the images. Otherwise the benchmark contains only the row numbers.
    classes
        Names of the labels 0, 1, …; empty if the labels have no names.
    """

    train: Part
    target: Part
    about: dict[str, Any]
    licence: str
    ships_images: bool = True
    classes: tuple[str, ...] = ()

    @property
    def parts(self) -> dict[str, Part]:
        """The two parts of the data set, by name: ``train`` holds the training examples, ``target`` holds the targets."""
        return {"train": self.train, "target": self.target}

    @property
    def digests(self) -> dict[str, str]:
        """Sha256 of every decoded array in hex, by array name, such as ``train_images``."""
        return {
            f"{name}_{array}": sha256(np.ascontiguousarray(getattr(part, array)).tobytes()).hexdigest()
            for name, part in self.parts.items()
            for array in ("images", "labels", "index")
        }

    def describe(self) -> dict[str, Any]:
        """Return name, source, split, and the sha256 of every decoded array."""
        return self.about | {"sha256": self.digests}

    def for_manifest(self) -> dict[str, Any]:
        """Return the data set's entry in the manifest: the result of `describe`, and the class names if there are any.

        Class names do not affect models, so `describe` leaves them out.
        """
        return self.describe() | ({"classes": list(self.classes)} if self.classes else {})

    def verified(self, expected: Mapping[str, str]) -> Self:
        """Return this data set if its `digests` equal the expected digests, which are given by array name.

        The check ensures that the arrays are the same, whatever source they were read from.

        Raises
        ------
        DataError
            A digest differs. The message names the arrays.
        """
        found = self.digests
        if different := [name for name, digest in expected.items() if found[name] != digest]:
            raise DataError(
                f"Arrays of {self.about['name']} differ from the published ones: {', '.join(different)}. "
                "Download the files again from their official source."
            )
        return self

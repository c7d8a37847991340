"""What a data set is: images with labels, split once into training examples and targets.

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
    """A data set cannot be had, or is not the one it should be; the message says what was tried and what to do."""


@dataclass(frozen=True)
class Part:
    """Training examples or targets: uint8 images, int64 labels, and which rows of the source they are."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    index: NDArray[np.int64]


@dataclass(frozen=True)
class Dataset:
    """Images with labels, split.

    Attributes
    ----------
    train, target
        The two parts.
    about
        Name, source and split, for the manifest.
    licence
        Under which a benchmark of them ships.
    ships_images
        Whether that benchmark may hold the images; otherwise it says only which they are.
    classes
        What the labels 0, 1, … stand for, if that has a name.
    """

    train: Part
    target: Part
    about: dict[str, Any]
    licence: str
    ships_images: bool = True
    classes: tuple[str, ...] = ()

    @property
    def parts(self) -> dict[str, Part]:
        """The two parts by name."""
        return {"train": self.train, "target": self.target}

    @property
    def digests(self) -> dict[str, str]:
        """The sha256 of every decoded array, in hex."""
        return {
            f"{name}_{array}": sha256(np.ascontiguousarray(getattr(part, array)).tobytes()).hexdigest()
            for name, part in self.parts.items()
            for array in ("images", "labels", "index")
        }

    def describe(self) -> dict[str, Any]:
        """Return name, source and the sha256 of every decoded array."""
        return self.about | {"sha256": self.digests}

    def for_manifest(self) -> dict[str, Any]:
        """Return what a manifest says: the description, and the names of the classes, on which no model depends."""
        return self.describe() | ({"classes": list(self.classes)} if self.classes else {})

    def verified(self, expected: Mapping[str, str]) -> Self:
        """Return the data set if these are the digests of its arrays: so that every source gives the same bytes.

        Raises
        ------
        DataError
            Some are not; the message names them.
        """
        found = self.digests
        if different := [name for name, digest in expected.items() if found[name] != digest]:
            raise DataError(
                f"expected the arrays of {self.about['name']} as published, got others: {', '.join(different)}. "
                "Fetch the files again from their official place."
            )
        return self

"""What retraining needs of a benchmark: recipe, seed, images and labels."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ldsboard.manifest import BundleError
from ldsboard.retraining.trainer import Examples

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from ldsboard.bundle import Bundle

PARTS = ("train", "target")


@dataclass(frozen=True)
class Kit:
    """The recipe, the examples and the public seed of a benchmark. It can be pickled for other processes.

    Attributes
    ----------
    benchmark
        Name of the benchmark, for messages.
    recipe
        The kit's ``recipe.py``.
    train, target
        Training examples and targets.
    seed
        Root of all seeds, see `ldsboard.subsets`.
    """

    benchmark: str
    recipe: Path
    train: Examples
    target: Examples
    seed: int

    @classmethod
    def of(cls, bundle: Bundle, images: Mapping[str, NDArray[np.uint8]] | None = None) -> Self:
        """Return the kit of a benchmark.

        Parameters
        ----------
        bundle
            The benchmark.
        images
            The arrays ``train_images`` and ``target_images``; by default those of the benchmark.

        Raises
        ------
        BundleError
            The benchmark has no recipe or no public seed, because its ground truth was imported; or no images.
        """
        manifest, public = bundle.manifest, bundle.folder / "public"
        if manifest.public_seed is None or "kit/recipe.py" not in manifest.files:
            raise BundleError(
                f"{manifest.name} has no recipe, because its ground truth was imported: its models cannot be trained again."
            )
        if images is None:
            if not {"train_images.npy", "target_images.npy"} <= set(manifest.files):
                if not {"train_images", "target_images"} <= set(manifest.dataset.get("sha256", {})):
                    raise BundleError(
                        f"{manifest.name} has neither images nor their sha256: its models cannot be trained again."
                    )
                raise BundleError(f"{manifest.name} ships no images. Add --images with your own copy of them.")
            images = {f"{part}_images": bundle.array(f"{part}_images") for part in PARTS}
        train, target = (
            Examples(images[f"{part}_images"], bundle.array(f"{part}_labels").astype(np.int64)) for part in PARTS
        )
        return cls(manifest.name, (public / "kit" / "recipe.py").resolve(), train, target, manifest.public_seed)

    def identity(self) -> dict[str, Any]:
        """Return what decides the models: the seed, and the sha256 of the recipe and of all arrays."""
        arrays = {f"{name}_{field}": array for name in PARTS for field, array in getattr(self, name)._asdict().items()}
        digests = {name: [*array.shape, sha256(array.tobytes()).hexdigest()] for name, array in arrays.items()}
        return {"seed": self.seed, "recipe": sha256(self.recipe.read_bytes()).hexdigest(), **digests}

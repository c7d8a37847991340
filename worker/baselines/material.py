"""What a baseline may see: the public arrays of a benchmark and its kit. Nothing here opens the hidden half.

Legend: M subsets, R runs, n training examples, N targets, d inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, cast

import torch
from safetensors.torch import load_file

from ldsboard.bundle import Bundle
from ldsboard.manifest import BundleError
from worker import data, recipes

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from worker.models import Recipe


@dataclass(frozen=True)
class Examples:
    """Training examples or targets: the model's inputs, float32 (n, d), and labels, int64 (n,)."""

    inputs: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class Material:
    """The public subsets and the kit of a benchmark, loaded.

    Attributes
    ----------
    recipe
        The kit's own ``recipe.py``.
    models
        The reference models, each trained on all n examples.
    train, target
        Inputs and labels.
    masks_Mn, margins_MRN
        Public subsets, bool (M, n), and their margins, float32 (M, R, N); never rows that rank, on an open benchmark either.
    """

    recipe: Recipe
    models: list[nn.Module]
    train: Examples
    target: Examples
    masks_Mn: NDArray[np.bool_]
    margins_MRN: NDArray[np.float32]

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Load the material in ``folder/public``, after its hashes are verified. This runs the kit's ``recipe.py``.

        Where a benchmark ships no images, they are the user's own, loaded as the trainer loads them: by the recipe's ``DATASET``.

        Raises
        ------
        BundleError
            The folder is incomplete or altered, or its kit holds no reference models.
        DataError
            It ships no images, and they are nowhere to be had, or are others than those it was made with.
        """
        bundle = Bundle.open(folder)
        kit = folder / "public" / "kit"
        files = sorted(kit.glob("reference-*.safetensors"))
        if not files:
            raise BundleError(f"expected reference models in {kit}, got none. Use a benchmark that has a kit.")
        recipe = cast("Recipe", recipes.run(kit / "recipe.py", "ldsboard_kit_recipe"))
        images = _images(bundle, recipe)

        def examples(part: str) -> Examples:
            labels = torch.from_numpy(bundle.array(f"{part}_labels")).long()
            return Examples(recipe.inputs(images[part]), labels)

        public = slice(bundle.manifest.subsets["public"])
        return cls(
            recipe,
            [_read_model(recipe, path) for path in files],
            examples("train"),
            examples("target"),
            bundle.masks_Mn[public],
            bundle.margins_MRN[public],
        )


def _images(bundle: Bundle, recipe: Recipe) -> dict[str, NDArray[np.uint8]]:
    """Return the images of training examples and targets: the benchmark's, or the user's own with the hashes it states."""
    if {"train_images.npy", "target_images.npy"} <= set(bundle.manifest.files):
        return {part: bundle.array(f"{part}_images") for part in ("train", "target")}
    own = data.load(recipe.DATASET).verified(bundle.manifest.dataset["sha256"])
    return {name: part.images for name, part in own.parts.items()}


def _read_model(recipe: Recipe, path: Path) -> nn.Module:
    model = recipe.build()
    model.load_state_dict(load_file(path))
    return model.eval()

"""The data that a baseline uses: the public arrays and the kit of a benchmark. This module never opens the hidden part.

Legend: M subsets, R runs, n training examples, N targets, d inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import torch
from safetensors.torch import load_file

from ldsboard.bundle import Bundle
from ldsboard.manifest import BundleError
from ldsboard.retraining.recipe_file import load_recipe
from worker import data

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from ldsboard.retraining.recipe import Recipe


@dataclass(frozen=True)
class Examples:
    """Training examples or targets: inputs of the model, float32 (n, d), and labels, int64 (n,)."""

    inputs: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class Material:
    """Public subsets and kit of a benchmark.

    Attributes
    ----------
    recipe
        The kit's ``recipe.py``.
    models
        The reference models, each trained on all n examples.
    train, target
        Inputs and labels of training examples and targets.
    masks_Mn, margins_MRN
        Public subsets, bool (M, n), and their margins, float32 (M, R, N). Ranking subsets of open benchmarks are excluded.
    """

    recipe: Recipe
    models: list[nn.Module]
    train: Examples
    target: Examples
    masks_Mn: NDArray[np.bool_]
    margins_MRN: NDArray[np.float32]

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Load the public part of a benchmark from ``folder/public`` after verifying the hashes of its files.

        Loading runs the kit's ``recipe.py``. If the benchmark ships no images, `worker.data.load` loads the images of the
        recipe's data set, and downloads the data set if necessary.

        Raises
        ------
        BundleError
            The folder is incomplete or changed, or its kit has no reference models.
        DataError
            The benchmark ships no images, and the data set is unavailable or differs from the benchmark's.
        """
        bundle = Bundle.open(folder)
        kit = folder / "public" / "kit"
        files = sorted(kit.glob("reference-*.safetensors"))
        if not files:
            raise BundleError(f"There are no reference models in {kit}. Use a benchmark whose kit has them.")
        recipe = load_recipe(kit / "recipe.py")
        images = find_images(bundle, recipe)

        def examples(part: str) -> Examples:
            labels = torch.from_numpy(bundle.array(f"{part}_labels")).long()
            return Examples(recipe.inputs(images[f"{part}_images"]), labels)

        public = slice(bundle.manifest.subsets["public"])
        return cls(
            recipe,
            [_read_model(recipe, path) for path in files],
            examples("train"),
            examples("target"),
            bundle.masks_Mn[public],
            bundle.margins_MRN[public],
        )


def find_images(bundle: Bundle, recipe: Recipe) -> dict[str, NDArray[np.uint8]]:
    """Return the arrays ``train_images`` and ``target_images`` of a benchmark.

    If the benchmark ships no images, they are read from the recipe's data set, whose arrays must have the sha256 in the manifest.

    Raises
    ------
    DataError
        The benchmark ships no images, and the data set is unavailable or differs from the benchmark's.
    """
    if {"train_images.npy", "target_images.npy"} <= set(bundle.manifest.files):
        return {name: bundle.array(name) for name in ("train_images", "target_images")}
    dataset = data.load(recipe.DATASET).verified(bundle.manifest.dataset["sha256"])
    return {f"{name}_images": part.images for name, part in dataset.parts.items()}


def _read_model(recipe: Recipe, path: Path) -> nn.Module:
    model = recipe.build()
    model.load_state_dict(load_file(path))
    return model.eval()

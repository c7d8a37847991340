"""Prepare to remake a benchmark from its manifest and hidden seed: restore the plan, and find what differs from the original."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from ldsboard.manifest import MANIFEST, BundleError, Manifest
from ldsboard.retraining import device
from ldsboard.retraining.recipe import has_convolutions
from worker import data
from worker.plan import HIDDEN, ConfigurationError, HiddenSeed, Plan, recipe_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ldsboard.retraining.recipe import Recipe
    from worker.data import Dataset


class Remake(NamedTuple):
    """What is needed to train a benchmark again: the plan, the hidden seed and the kind of device.

    `hidden` is None for an open benchmark. `differences` lists reasons why the new results can differ from the earlier ones.
    """

    plan: Plan
    hidden: HiddenSeed | None
    differences: list[str]
    kind: str


def remake(
    benchmark: Path, load: Callable[[str], Recipe], hidden_file: Path | None = None, recipe_path: str | None = None
) -> Remake:
    """Return what is needed to train a benchmark again: the plan in ``public/benchmark.json``, and the hidden seed.

    Load the recipe and the data set, and check that both and any hidden seed are those of the benchmark.

    Parameters
    ----------
    benchmark
        Folder of the benchmark. The manifest is read from it. If `hidden_file` is None, the hidden seed of a protected benchmark
        is read from it too.
    load
        Loads a recipe by name or path.
    hidden_file
        The operator's ``hidden.json``; None: ``hidden/hidden.json`` in the benchmark's folder.
    recipe_path
        Path of a recipe file; None: the recipe that the manifest names.

    Raises
    ------
    BundleError
        The manifest is missing, or does not say how the benchmark was trained.
    ConfigurationError
        The hidden seed is missing or wrong, or the recipe or the data set has changed.
    DataError
        The data set of the recipe cannot be loaded.
    """
    path = benchmark / "public" / MANIFEST
    manifest = Manifest.read(path)
    plan = _plan(manifest, path, recipe_path)
    recipe = load(plan.recipe)
    require_same_recipe(recipe, manifest, path)
    require_same_data(data.load(recipe.DATASET), manifest, path)
    hidden = None
    if plan.split == "protected":
        file = hidden_file or benchmark / HIDDEN
        hidden = HiddenSeed.read(file)
        if hidden.commitment != manifest.commitment:
            raise ConfigurationError(
                f"{file} does not match the commitment in {path}: the file belongs to another benchmark."
            )
    kind = device.kind_of(manifest.provenance)
    now = device.arithmetic(kind, has_convolutions=has_convolutions(recipe.build()))
    return Remake(plan, hidden, _differences(manifest.provenance, now), kind)


def require_same_recipe(recipe: Recipe, manifest: Manifest, path: Path) -> None:
    """Raise ConfigurationError if a recipe is not that of the manifest at `path`."""
    if sha256(recipe_file(recipe).read_bytes()).hexdigest() != manifest.files.get("kit/recipe.py"):
        raise ConfigurationError(
            f"The recipe {recipe.NAME} differs from the kit's recipe, whose sha256 is in {path}. "
            "Use the LDSBoard version that made the benchmark."
        )


def require_same_data(dataset: Dataset, manifest: Manifest, path: Path) -> None:
    """Raise ConfigurationError if a data set is not that of the manifest at `path`."""
    if json.loads(json.dumps(dataset.for_manifest())) != manifest.dataset:
        raise ConfigurationError(
            f"The data set {dataset.about['name']} differs from the data set that {path} describes."
        )


def _plan(manifest: Manifest, path: Path, recipe_path: str | None) -> Plan:
    provenance = manifest.provenance
    if manifest.public_seed is None:
        raise BundleError(
            f"Cannot remake: {path} has no public seed, because the subsets were imported instead of drawn."
        )
    public = manifest.subsets["public"]
    try:
        # The ranking subsets that the manifest counts do not include the reserve.
        subsets = provenance["models"] // manifest.runs
        return Plan(
            recipe=recipe_path or manifest.recipe["name"],
            version=manifest.version,
            split=manifest.split,
            **provenance.get("planned", {"public": public, "ranking": subsets - public}),
            runs=manifest.runs,
            group=provenance["models_at_once"],
            engine=provenance["engine"],
            public_seed=manifest.public_seed,
        )
    except KeyError as error:
        raise BundleError(f"Cannot remake: {path} lacks {error}, which describes the training.") from error


def _differences(made: dict[str, Any], arithmetic: dict[str, Any]) -> list[str]:
    now = arithmetic | device.versions() | {"torch": torch.__version__}
    if "gpu" in made:
        now = {"gpu": "none"} | now
    then = made | made.get("versions", {})
    differences = [
        f"{name} was {then[name]}, is {value} now" for name, value in now.items() if then.get(name, value) != value
    ]
    if planned := made.get("planned"):
        differences.append(
            f"the original lacks some of the {planned['public']} + {planned['ranking']} planned subsets, the remake has all"
        )
    return differences

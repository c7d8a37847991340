"""Gather the shards of a training folder into a benchmark: check that no model is missing, order the margins, add the kit.

Legend: M subsets, R runs, N targets.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from ldsboard.arrays.packed import PackedMasks
from ldsboard.bundle import write_bundle
from ldsboard.hidden_file import HiddenPart
from ldsboard.manifest import MANIFEST, Manifest
from ldsboard.retraining import device
from ldsboard.subsets import draw_reserve
from worker import data
from worker.kit import write_kit
from worker.plan import HIDDEN, Configuration, ConfigurationError, HiddenSeed
from worker.shards import Shard, ShardError, format_ranges, missing_models, read_shards
from worker.training import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from ldsboard.retraining.recipe import Recipe
    from worker.plan import Plan


COUNTS = ("public", "ranking")
"""Fields of a plan that are smaller in a benchmark gathered with ``--partial``."""


def gather(folder: Path, load: Callable[[str], Recipe], *, partial: bool = False) -> Manifest:
    """Create the benchmark from the shards of a training folder, and write the benchmark into the same folder.

    This trains the reference models of the kit, and replaces an earlier benchmark in the folder.

    Parameters
    ----------
    load
        Loads a recipe by name or path.
    partial
        Accept missing models. Each part of the benchmark then ends before the first subset that lacks a run.
        The seed fixes the order of the subsets, so results have no influence on which subsets are kept.

    Raises
    ------
    ShardError
        Models are missing or have diverged, or a shard is damaged or has another configuration.
    ConfigurationError
        The recipe or the data set has changed since the training, or the folder is not a training folder.
    DataError
        The data set cannot be loaded.
    """
    configuration = Configuration.read(folder)
    shards = read_shards(folder / "shards", configuration.digest)
    plan = _plan_to_gather(configuration.plan, shards, folder, partial=partial)
    hidden = HiddenSeed.read(folder / HIDDEN) if plan.split == "protected" else None
    recipe = load(plan.recipe)
    trainer = Trainer(plan, recipe, data.load(recipe.DATASET), hidden, device.kind_of(configuration.arithmetic))
    # Recipe, data and seeds must be the same as in training. A different machine is allowed.
    replace(trainer.configuration, plan=configuration.plan, arithmetic=configuration.arithmetic).save_or_check(folder)
    _check_finite(shards, folder)
    margins, accuracy = _assemble(shards, configuration.plan, plan)
    with TemporaryDirectory() as temporary:
        kit = Path(temporary, "kit")  # a subfolder, since only the owner can read the temporary folder itself
        write_kit(kit, trainer)
        return write_bundle(
            folder,
            _describe(trainer, configuration, shards, accuracy["public"]),
            masks_Mn=trainer.masks["public"],
            margins_MRN=margins["public"],
            labels={name: part.labels for name, part in trainer.data.parts.items()},
            images={name: part.images for name, part in trainer.data.parts.items() if trainer.data.ships_images},
            kit=kit,
            hidden=_hidden_part(hidden, trainer.masks["hidden"], margins["hidden"]) if hidden else None,
        )


def _hidden_part(hidden: HiddenSeed, masks_Mn: NDArray[np.bool_], margins_MRN: NDArray[np.float32]) -> HiddenPart:
    """Return the hidden part of the benchmark, with the reserve that the hidden seed draws."""
    packed = PackedMasks.of(masks_Mn)
    return HiddenPart(hidden.seed, hidden.nonce, packed, margins_MRN, draw_reserve(hidden.seed, len(packed)))


def is_complete(folder: Path) -> bool:
    """Return whether a training folder already holds the benchmark, with all models of the plan."""
    manifest = folder / "public" / MANIFEST
    return manifest.exists() and "planned" not in Manifest.read(manifest).provenance


def _plan_to_gather(planned: Plan, shards: Sequence[Shard], folder: Path, *, partial: bool) -> Plan:
    """Return the plan of the benchmark to gather: the whole plan if no model is missing.

    If models are missing and `partial` is true, each part of the returned plan ends before its first incomplete subset.

    Raises
    ------
    ShardError
        Models are missing and `partial` is false, or too few subsets are left for a benchmark.
    """
    missing = missing_models(shards, len(planned.models))
    if not missing:
        return planned
    found = (
        f"expected {len(planned.models)} models in {folder / 'shards'}, got {len(planned.models) - len(missing)}; "
        f"missing: {format_ranges(missing)}."
    )
    if not partial:
        raise ShardError(
            f"{found} Train the missing models with the same options, or gather the complete subsets with --partial."
        )
    complete = planned.subsets
    for number in sorted(missing, reverse=True):
        complete[planned.models[number].part] = planned.models[number].subset
    # In an open benchmark the first `planned.public` subsets are for tuning, and the others are ranking subsets.
    public = min(complete["public"], planned.public)
    ranking = complete["hidden"] if planned.split == "protected" else complete["public"] - public
    try:
        return replace(planned, public=public, ranking=ranking)
    except ConfigurationError as error:
        raise ShardError(
            f"{found} The subsets before the missing models are too few for a benchmark: {error}."
        ) from error


def _check_finite(shards: Sequence[Shard], folder: Path) -> None:
    """Raise ShardError if models have diverged, because margins that are not finite cannot be ranked."""
    diverged = {shard.start + int(k) for shard in shards for k in np.flatnonzero(~np.isfinite(shard.margins).all(1))}
    if diverged:
        raise ShardError(
            f"Models {format_ranges(diverged)} in {folder / 'shards'} diverged: their margins are not finite. Lower the learning "
            "rate in the recipe and train in another folder. If faulty memory or a faulty disk is the cause, delete the shards "
            "of these models and train again."
        )


def _assemble(
    shards: Sequence[Shard], planned: Plan, present: Plan
) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float64]]]:
    """Return margins (M, R, N) and accuracies (M, R) of each part; M is the part's number of subsets in the plan `present`."""
    margins = np.empty((len(planned.models), shards[0].margins.shape[1]), dtype=np.float32)
    accuracy = np.empty(len(planned.models))
    for shard in shards:
        margins[shard.start : shard.stop] = shard.margins
        accuracy[shard.start : shard.stop] = shard.accuracy
    margins_MRN = margins.reshape(-1, planned.runs, margins.shape[1])
    accuracy_MR = accuracy.reshape(-1, planned.runs)
    ends = np.cumsum(list(planned.subsets.values()))
    rows = {
        part: slice(end - planned.subsets[part], end - planned.subsets[part] + present.subsets[part])
        for part, end in zip(planned.subsets, ends, strict=True)
    }
    return (
        {part: margins_MRN[rows[part]] for part in rows},
        {part: accuracy_MR[rows[part]] for part in rows},
    )


def _describe(
    trainer: Trainer, trained: Configuration, shards: Sequence[Shard], public_accuracy: NDArray[np.float64]
) -> dict[str, Any]:
    plan, recipe = trainer.plan, trainer.recipe
    arithmetic = trained.arithmetic
    planned = {} if plan == trained.plan else {"planned": {name: getattr(trained.plan, name) for name in COUNTS}}
    return {
        "name": recipe.NAME,
        "version": plan.version,
        "title": recipe.TITLE,
        "description": recipe.DESCRIPTION,
        "licence": trainer.data.licence,
        "dataset": trainer.data.for_manifest(),
        "recipe": {"name": recipe.NAME, **trained.settings},
        "alpha": recipe.ALPHA,
        "output_function": "margin",
        "public_seed": plan.public_seed,
        "split": plan.split,
        "ranking": None if plan.split == "protected" else (plan.public, plan.public + plan.ranking),
        "provenance": {
            "versions": device.versions() | {"torch": arithmetic["torch"]},
            "device": device.processor_name(),
            **{name: value for name, value in arithmetic.items() if name != "torch"},
            "engine": plan.engine,
            "models_at_once": plan.group,
            "models": len(plan.models),
            "seconds": round(sum(shard.seconds for shard in shards), 1),
            # Over public subsets only, so that the manifest reveals nothing about hidden subsets.
            "accuracy_mean": round(float(public_accuracy.mean()), 4),
            "accuracy_lowest": round(float(public_accuracy.min()), 4),
            "configuration": trained.digest,
            **planned,
        },
    }

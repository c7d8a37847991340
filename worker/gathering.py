"""From a folder of shards to a benchmark: check that all models are there, put them in order, add the kit.

Legend: M subsets, R runs, N targets.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from ldsboard.bundle import HiddenPart, write_bundle
from ldsboard.manifest import MANIFEST, Manifest
from worker import data, device
from worker.kit import write_kit
from worker.plan import HIDDEN, Configuration, ConfigurationError, HiddenSeed
from worker.shards import Shard, ShardError, as_ranges, missing, read_all
from worker.training import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from worker.models import Recipe
    from worker.plan import Plan


COUNTS = ("public", "ranking")
"""The counts of a plan that a benchmark from part of the models has fewer of."""


def gather(folder: Path, load: Callable[[str], Recipe], *, partial: bool = False) -> Manifest:
    """Write the benchmark of a training folder into it.

    Parameters
    ----------
    partial
        Accept that models are missing: of each part the benchmark holds the subsets before the first that lacks a run. They
        are the ones that its seed draws first, as in any benchmark, and nothing chose among them.

    Raises
    ------
    ShardError
        Models are missing or diverged, or a shard is damaged or of another configuration.
    ConfigurationError
        The folder was trained with another recipe or data than there are now.
    """
    kept = Configuration.read(folder)
    shards = read_all(folder / "shards", kept.digest)
    plan = _present(kept.plan, shards, folder, partial=partial)
    hidden = HiddenSeed.read(folder / HIDDEN) if plan.split == "protected" else None
    recipe = load(plan.recipe)
    trainer = Trainer(plan, recipe, data.load(recipe.DATASET), hidden, device.same(kept.arithmetic))
    # The machine that gathers may differ from the one that trained; recipe, data and seeds may not.
    replace(trainer.configuration, plan=kept.plan, arithmetic=kept.arithmetic).keep(folder)
    _expect_finite(shards, folder)
    margins, accuracy = _in_order(shards, kept.plan, plan)
    with TemporaryDirectory() as temporary:
        kit = Path(temporary, "kit")  # a folder within, since the temporary one is its owner's alone
        write_kit(kit, trainer)
        return write_bundle(
            folder,
            _describe(trainer, kept, shards, accuracy["public"]),
            masks_Mn=trainer.masks["public"],
            margins_MRN=margins["public"],
            labels={name: part.labels for name, part in trainer.data.parts.items()},
            images={name: part.images for name, part in trainer.data.parts.items() if trainer.data.ships_images},
            kit=kit,
            hidden=HiddenPart(hidden.seed, hidden.nonce, trainer.masks["hidden"], margins["hidden"])
            if hidden
            else None,
        )


def is_whole(folder: Path) -> bool:
    """Tell whether a training folder holds its benchmark, of all that was planned."""
    manifest = folder / "public" / MANIFEST
    return manifest.exists() and "planned" not in Manifest.read(manifest).provenance


def _present(planned: Plan, shards: Sequence[Shard], folder: Path, *, partial: bool) -> Plan:
    """Return the plan itself when all models are there; when a part is enough, the plan of what is there."""
    absent = missing(shards, len(planned.models))
    if not absent:
        return planned
    found = (
        f"expected {len(planned.models)} models in {folder / 'shards'}, got {len(planned.models) - len(absent)}; "
        f"missing: {as_ranges(absent)}."
    )
    if not partial:
        raise ShardError(f"{found} Train them with the same options, or gather what is there with --partial.")
    complete = planned.subsets
    for number in sorted(absent, reverse=True):
        complete[planned.models[number].part] = planned.models[number].subset
    # On an open benchmark the first subsets are there to tune on, as planned, and what follows ranks.
    public = min(complete["public"], planned.public)
    ranking = complete["hidden"] if planned.split == "protected" else complete["public"] - public
    try:
        return replace(planned, public=public, ranking=ranking)
    except ConfigurationError as error:
        raise ShardError(f"{found} The subsets before those are too few for a benchmark: {error}.") from error


def _expect_finite(shards: Sequence[Shard], folder: Path) -> None:
    """Refuse models that diverged: what a benchmark holds is ranked, and not a number has no rank."""
    diverged = {shard.start + int(k) for shard in shards for k in np.flatnonzero(~np.isfinite(shard.margins).all(1))}
    if diverged:
        raise ShardError(
            f"expected finite margins in {folder / 'shards'}, got others from models {as_ranges(diverged)}: they diverged. "
            "Lower the learning rate in the recipe and train in another folder; if memory or disk did it, delete their shards "
            "and train again."
        )


def _in_order(
    shards: Sequence[Shard], planned: Plan, present: Plan
) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float64]]]:
    """Return margins (M, R, N) and accuracies (M, R) of every part: of the subsets that are present, of those planned."""
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
            "device": device.name(),
            **{name: value for name, value in arithmetic.items() if name != "torch"},
            "engine": plan.engine,
            "models_at_once": plan.group,
            "models": len(plan.models),
            "seconds": round(sum(shard.seconds for shard in shards), 1),
            # Over public subsets alone: the hidden ones tell nothing here.
            "accuracy_mean": round(float(public_accuracy.mean()), 4),
            "accuracy_lowest": round(float(public_accuracy.min()), 4),
            "configuration": trained.digest,
            **planned,
        },
    }

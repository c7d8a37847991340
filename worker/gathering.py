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
from worker import device
from worker.data import DATASETS
from worker.kit import write_kit
from worker.plan import HIDDEN, Configuration, HiddenSeed
from worker.shards import Shard, ShardError, as_ranges, missing, read_all
from worker.training import Trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from ldsboard.manifest import Manifest
    from worker.models import Recipe


def gather(folder: Path, load: Callable[[str], Recipe]) -> Manifest:
    """Write the benchmark of a training folder into it.

    Raises
    ------
    ShardError
        Models are missing, or a shard is damaged or of another configuration.
    ConfigurationError
        The folder was trained with another recipe or data than there are now.
    """
    kept = Configuration.read(folder)
    plan = kept.plan
    shards = read_all(folder / "shards", kept.digest)
    if absent := missing(shards, len(plan.models)):
        raise ShardError(
            f"expected {len(plan.models)} models in {folder / 'shards'}, got {len(plan.models) - len(absent)}; "
            f"missing: {as_ranges(absent)}. Train them with the same options."
        )
    hidden = HiddenSeed.read(folder / HIDDEN) if plan.split == "protected" else None
    recipe = load(plan.recipe)
    trainer = Trainer(plan, recipe, DATASETS[recipe.DATASET](), hidden)
    # The machine that gathers may differ from the one that trained; recipe, data and seeds may not.
    replace(trainer.configuration, arithmetic=kept.arithmetic).keep(folder)
    margins, accuracy = _in_order(shards, trainer)
    with TemporaryDirectory() as kit:
        write_kit(Path(kit), trainer)
        return write_bundle(
            folder,
            _describe(trainer, kept, shards, accuracy["public"]),
            masks_Mn=trainer.masks["public"],
            margins_MRN=margins["public"],
            labels={name: part.labels for name, part in trainer.data.parts.items()},
            images={name: part.images for name, part in trainer.data.parts.items()},
            kit=Path(kit),
            hidden=HiddenPart(hidden.seed, hidden.nonce, trainer.masks["hidden"], margins["hidden"])
            if hidden
            else None,
        )


def _in_order(
    shards: Sequence[Shard], trainer: Trainer
) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float64]]]:
    """Return margins (M, R, N) and accuracies (M, R) of every part."""
    plan = trainer.plan
    margins = np.empty((len(plan.models), len(trainer.target_labels)), dtype=np.float32)
    accuracy = np.empty(len(plan.models))
    for shard in shards:
        margins[shard.start : shard.stop] = shard.margins
        accuracy[shard.start : shard.stop] = shard.accuracy
    ends = np.cumsum([count * plan.runs for count in plan.subsets.values()])
    shapes = {part: (count, plan.runs) for part, count in plan.subsets.items()}
    return (
        {part: rows.reshape(*shapes[part], -1) for part, rows in zip(shapes, np.split(margins, ends), strict=False)},
        {part: rows.reshape(shapes[part]) for part, rows in zip(shapes, np.split(accuracy, ends), strict=False)},
    )


def _describe(
    trainer: Trainer, trained: Configuration, shards: Sequence[Shard], public_accuracy: NDArray[np.float64]
) -> dict[str, Any]:
    plan, recipe = trainer.plan, trainer.recipe
    arithmetic = trained.arithmetic
    return {
        "name": recipe.NAME,
        "version": plan.version,
        "title": recipe.TITLE,
        "description": recipe.DESCRIPTION,
        "licence": trainer.data.licence,
        "dataset": trained.dataset,
        "recipe": {"name": recipe.NAME, **trained.settings},
        "alpha": recipe.ALPHA,
        "output_function": "margin",
        "public_seed": plan.public_seed,
        "split": plan.split,
        "ranking": None if plan.split == "protected" else (plan.public, plan.public + plan.ranking),
        "provenance": {
            "versions": device.versions() | {"torch": arithmetic["torch"]},
            "device": device.name(),
            "instruction_set": arithmetic["instruction_set"],
            "threads": arithmetic["threads"],
            "engine": plan.engine,
            "models_at_once": plan.group,
            "models": len(plan.models),
            "seconds": round(sum(shard.seconds for shard in shards), 1),
            # Over public subsets alone: the hidden ones tell nothing here.
            "accuracy_mean": round(float(public_accuracy.mean()), 4),
            "accuracy_lowest": round(float(public_accuracy.min()), 4),
            "configuration": trained.digest,
        },
    }

"""``python -m worker counterfactual``: retrain models without the examples that a score file names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ldsboard.bundle import Bundle
from ldsboard.cache import pulled
from ldsboard.commands.conversion import TRAIN_TARGET, check_axes, read_file
from ldsboard.commands.counterfactual import Out, Processes, Targets, check_out, evaluate, report
from ldsboard.commands.options import AsJson, Axes, Key
from ldsboard.retraining.recipe_file import load_recipe
from worker.baselines.material import find_images


def counterfactual(
    *,
    benchmark: Annotated[
        str, typer.Option(help="Name of a pulled benchmark, or folder of a benchmark.", show_default=False)
    ],
    scores: Annotated[Path, typer.Option(help="Score file.", show_default=False)],
    targets: Targets = None,
    processes: Processes = 0,
    out: Out = None,
    axes: Axes = TRAIN_TARGET,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Retrain models without the examples that a score file names, and print how far the margins of the targets fall.

    After an interruption, repeat the command: finished parts are kept.
    """
    axes, folder = check_axes(axes), Path(benchmark)
    check_out(out)
    bundle = Bundle.open(folder if (folder / "public").is_dir() else pulled(benchmark))
    array = read_file(scores, bundle.manifest.n_train, bundle.manifest.n_targets, axes, key)
    recipe = bundle.folder / "public" / "kit" / "recipe.py"
    images = find_images(bundle, load_recipe(recipe)) if recipe.exists() else None
    report(evaluate(bundle, array, images, targets, processes), bundle, out, as_json=as_json)

"""``python -m worker baseline``: compute a score file from the public part of a benchmark."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from ldsboard.cache import pulled
from ldsboard.retraining import device
from worker.baselines.material import Material
from worker.baselines.registry import BASELINES
from worker.baselines.tuning import tune

console = Console(stderr=True, highlight=False)


def baseline(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(BASELINES)}.", show_default=False)],
    *,
    benchmark: Annotated[
        str, typer.Option(help="Name of a pulled benchmark, or folder of a benchmark.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="Score file to write.")] = Path("scores.npy"),
    tuning: Annotated[
        bool, typer.Option("--tune", help="Write no score file; print the LDS of every setting on public subsets.")
    ] = False,
) -> None:
    """Compute a baseline's score file from the kit and the public subsets, and print the cost as one line of JSON."""
    if name not in BASELINES:
        raise typer.BadParameter(f"expected one of {', '.join(BASELINES)}, got {name!r}", param_hint="NAME")
    if not out.parent.is_dir():  # check the folder before an hour of computation
        raise typer.BadParameter(f"The folder {out.parent} does not exist.", param_hint="--out")
    device.use_one_thread()
    folder = Path(benchmark)
    material = Material.open(folder if (folder / "public").is_dir() else pulled(benchmark))
    if tuning:
        _print_trials(name, material)
        return
    start = time.monotonic()
    with console.status(f"{name}: attributing {len(material.target.labels)} targets"):
        scores_nN = BASELINES[name].score(material, BASELINES[name].frozen)
    seconds = round(time.monotonic() - start, 3)
    with out.open("wb") as file:  # given a name, numpy would append .npy
        np.save(file, scores_nN)
    cost = {"seconds": seconds, "device": device.processor_name(), "models": BASELINES[name].models(material)}
    print(json.dumps(cost))  # noqa: T201 -- read by the program that submits the file


def _print_trials(name: str, material: Material) -> None:
    for trial in tune(name, material):
        low, high = trial.interval
        frozen = " (frozen setting)" if trial.setting == BASELINES[name].frozen else ""
        found = f"LDS {trial.lds:.4f}, 95 % interval {low:.4f} to {high:.4f}, {trial.z_random:.1f} sd from chance"
        print(f"{name} {trial.setting}: {found}{frozen}")  # noqa: T201

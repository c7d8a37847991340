"""``python -m worker bench`` and ``check``: how fast this machine trains, and whether its models are like the published ones."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003 -- typer reads the annotations
from typing import Annotated

import typer

from ldsboard.retraining import device
from ldsboard.retraining.engines import ENGINES
from worker import bench, recipes
from worker.bench_removals import compare_retraining, retraining_table
from worker.checking import Retraining
from worker.choice import AUTO
from worker.options import Device, choose_engine, console, device_kind


def show_bench(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[RECIPE]...", help="Recipes to time. Default: both MLP recipes.")
    ] = None,
    group: Annotated[
        int | None, typer.Option(min=1, help="Models that train at once (K). Default: the recipe's GROUP.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often each loop is timed; loops take turns.")] = 3,
    steps: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Time only this many first steps of each model; 0: whole training with margins. Default: 0, or on a "
            "CPU 1 for recipes that the vmapped engine supports, because these take long.",
        ),
    ] = None,
    on: Device = device.AUTO,
) -> None:
    """Compare the speed of every engine and of a notebook's training loop, and of retraining in groups and one by one."""
    kind = device_kind(on)
    typer.echo(f"{_machine(kind)}\n")
    for name in names or bench.RECIPES:
        setup = bench.Setup(name, group, kind, steps)
        typer.echo(bench.table(setup, bench.compare(setup, rounds)) + "\n")
        if kind == device.CPU and not setup.steps:
            speeds = compare_retraining(setup.recipe, setup.trainer.data, rounds)
            typer.echo(retraining_table(setup.recipe, speeds, len(setup.trainer.data.target.labels)) + "\n")


def check(
    folders: Annotated[
        list[Path], typer.Argument(metavar="FOLDER...", help="Folders of benchmarks; each holds a folder public.")
    ],
    *,
    subsets: Annotated[
        int, typer.Option(help="Number of public subsets, at least 10; one new model is trained on each.")
    ] = 40,
    engine: Annotated[
        str,
        typer.Option(
            help=f"{', '.join(ENGINES)}; auto: on a GPU the fastest in a short trial, on a CPU the recipe's ENGINE."
        ),
    ] = AUTO,
    group: Annotated[
        int | None,
        typer.Option(min=1, help="Models that train at once (K). Default: the fastest, or the recipe's GROUP."),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="Path of a recipe file. Default: the recipe with the name in the manifest.")
    ] = None,
    on: Device = device.AUTO,
) -> None:
    """Train new models of published benchmarks on this machine; test whether they follow the same distribution."""
    kind = device_kind(on)
    device.use_one_thread()
    typer.echo(_machine(kind))
    alike = [_check(Retraining(folder, recipes.load, subsets, kind, recipe), engine, group) for folder in folders]
    if not all(alike):
        raise typer.Exit(1)


def _check(retraining: Retraining, engine: str, group: int | None) -> bool:
    recipe, kind = retraining.setup.recipe, retraining.setup.kind
    plan = replace(retraining.setup.trainer.plan, group=group or recipe.GROUP)
    if engine == AUTO and kind == device.GPU:
        plan = choose_engine(plan, kind, group)
    elif engine != AUTO:
        plan = replace(plan, engine=engine)
    with console.status(f"{recipe.NAME}: training models"):
        found = retraining.run(plan.engine, plan.group)
    speed, unit = found.speed, "CPU s" if kind == device.CPU else "s"
    typer.echo(
        f"{recipe.NAME}, {plan.engine}, K = {plan.group}: {speed.models} models in {speed.seconds:.1f} {unit}, "
        f"{speed.models / speed.seconds:.3g} models per {unit}, {speed.share_of_peak:.0%} of the measured peak"
    )
    if found.diverged:
        typer.echo(f"  {found.diverged} of {speed.models} new models DIVERGED: some margins are not finite")
    for comparison in found.comparisons:
        typer.echo(f"  {comparison}")
    return found.agrees


def _machine(kind: str) -> str:
    """Return the names of the processor or GPU and of torch, and the date."""
    arithmetic = device.arithmetic(kind, has_convolutions=False)
    name = arithmetic.get("gpu") or f"{device.processor_name()}, {arithmetic['instruction_set']}"
    return f"{name}; torch {arithmetic['torch']}; {datetime.now(UTC):%Y-%m-%d}"

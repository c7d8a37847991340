"""The trainer's command line: ``python -m worker train | gather | baseline | bench``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ldsboard.manifest import BundleError
from worker import bench, recipes
from worker.baselines.command import baseline
from worker.gathering import gather as gather_folder
from worker.plan import ConfigurationError, Plan
from worker.processes import ProcessError
from worker.progress import show
from worker.shards import ShardError, as_ranges, cut, missing, read_all
from worker.training import begin
from worker.training import train as train_shards

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)
console = Console(stderr=True)
DEFAULTS = Plan("")


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="Name of the recipe, such as digits-mlp.")],
    out: Annotated[Path, typer.Option(help="Folder for shards and benchmark; an interrupted one is continued.")],
    *,
    public: Annotated[int, typer.Option(help="Subsets to tune on.")] = DEFAULTS.public,
    ranking: Annotated[int, typer.Option("--hidden", "--ranking", help="Subsets that rank.")] = DEFAULTS.ranking,
    runs: Annotated[int, typer.Option(help="How often every subset is trained.")] = DEFAULTS.runs,
    split: Annotated[
        str, typer.Option(help="protected: a secret seed draws the subsets that rank; open: all public.")
    ] = (DEFAULTS.split),
    version: Annotated[int, typer.Option(help="Version of the benchmark.")] = DEFAULTS.version,
    group: Annotated[int, typer.Option(help="Models that train at once (K).")] = DEFAULTS.group,
    engine: Annotated[str, typer.Option(help="batched or sequential.")] = DEFAULTS.engine,
    shard_size: Annotated[int, typer.Option(help="Models in a shard file; a multiple of the group.")] = 100,
    shards: Annotated[str, typer.Option(help="Only the shards a-b (from 0, both included).")] = "",
    processes: Annotated[int, typer.Option(min=0, help="Training processes, one thread each; 0: one per core.")] = 0,
    public_seed: Annotated[int, typer.Option(help="Root seed of all that is public.")] = DEFAULTS.public_seed,
    hidden_seed: Annotated[
        str | None,
        typer.Option(
            envvar="LDSBOARD_HIDDEN_SEED",
            help="Secret root seed, 32 hexadecimal digits; drawn when not given. Safer in the environment.",
        ),
    ] = None,
) -> None:
    """Train the models of a benchmark, and gather them when all are there."""
    plan = Plan(recipe, version, split, public, ranking, runs, group, engine, public_seed)
    every = cut(len(plan.models), shard_size, group)
    wanted = every[_shard_range(shards, len(every))]
    job, configuration = begin(plan, out, recipes.load, hidden_seed)
    absent = missing(read_all(out / "shards", configuration.digest), len(plan.models))
    todo = [shard for shard in wanted if absent.intersection(shard)]
    if todo:
        models = sum(map(len, todo))
        console.print(f"{recipe}: {models} of {len(plan.models)} models to train")
        show(train_shards(job, todo, processes or _cores()), models, console)
        absent = missing(read_all(out / "shards", configuration.digest), len(plan.models))
    if absent:
        console.print(f"Still missing: models {as_ranges(absent)}.")
    elif todo or not (out / "public" / "benchmark.json").exists():
        gather(out)
    else:
        console.print(f"{out} is complete.")


@app.command()
def gather(folder: Annotated[Path, typer.Argument(help="A folder that was trained in.")]) -> None:
    """Write the benchmark of a folder whose models are all trained."""
    with console.status("gathering, and training the reference models"):
        manifest = gather_folder(folder, recipes.load)
    made = manifest.provenance
    console.print(
        f"{manifest.name} version {manifest.version} is in {folder}: {made['models']} models, {made['seconds']} s of "
        f"processor time, accuracy {made['accuracy_mean']}, ceiling {manifest.ceiling:.3f} ± {manifest.ceiling_std_error:.3f}"
    )


app.command()(baseline)


@app.command("bench")
def show_bench(
    recipe: Annotated[str, typer.Argument()] = "digits-mlp",
    group: Annotated[int, typer.Option(help="Models that train at once (K).")] = DEFAULTS.group,
    rounds: Annotated[int, typer.Option(help="How often both engines take turns.")] = 3,
) -> None:
    """Time batched and one-by-one training and a notebook's loop beside each other."""
    typer.echo(bench.table(recipe, group, bench.compare(recipe, group, rounds)))


def _shard_range(text: str, count: int) -> slice:
    if not text:
        return slice(None)
    first, _, last = text.partition("-")
    if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last) < count):
        raise ConfigurationError(f"expected shards as a-b with a <= b < {count}, got {text!r}")
    return slice(int(first), int(last) + 1)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def main() -> None:
    """Run the command line; what the user can mend is told in a sentence, with exit code 2."""
    try:
        app()
    except (BundleError, ConfigurationError, ProcessError, ShardError) as error:
        console.print(f"error: {error}", markup=False, soft_wrap=True)
        sys.exit(1 if isinstance(error, ProcessError) else 2)


if __name__ == "__main__":
    main()

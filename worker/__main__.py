"""Command line of the trainer: ``python -m worker train | remake | gather | baseline | bench | check``."""

from __future__ import annotations

import signal
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ldsboard.core.ceiling import ceiling_text
from ldsboard.manifest import BundleError
from ldsboard.problems import ProblemError
from ldsboard.retraining import device
from ldsboard.retraining.processes import ProcessError
from worker import cluster, gathering, recipes
from worker.baselines.command import baseline
from worker.campaign import Campaign
from worker.choice import AUTO
from worker.data import DataError
from worker.measuring import check, show_bench
from worker.memory import OutOfMemory
from worker.options import Device, choose_engine, console, device_kind
from worker.outliers import outliers
from worker.plan import CONFIGURATION, Configuration, ConfigurationError, Plan
from worker.remaking import remake
from worker.removing import counterfactual
from worker.shards import ShardError, format_ranges, read_shards
from worker.training import train as train_in_processes

if TYPE_CHECKING:
    from worker.campaign import ShardTrainer

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)
DEFAULTS = Plan("")

ShardSize = Annotated[
    int | None, typer.Option(help="Models in a shard file, a multiple of --group. Default: about a hundred.")
]
Shards = Annotated[
    str, typer.Option(help="Train only the shards a-b (from 0, b included). When all are trained, run `gather`.")
]
Ray = Annotated[
    str,
    typer.Option(
        metavar="[ADDRESS]",
        help="Train on the Ray cluster at this address. Without an address, start Ray on this machine.",
        show_default=False,
    ),
]
Gpus = Annotated[
    int,
    typer.Option("--gpus-per-shard", min=0, help="With --ray: GPUs for each shard; 0: one CPU core for each shard."),
]
Processes = Annotated[
    int, typer.Option(min=0, help="Number of one-thread training processes; 0: one for each CPU core or each GPU.")
]


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe, such as digits-mlp, or path of a recipe file.")],
    out: Annotated[
        Path,
        typer.Option(help="Folder for shards and benchmark. Repeat the command to continue after an interruption."),
    ],
    *,
    public: Annotated[int, typer.Option(help="Number of public subsets, for tuning.")] = DEFAULTS.public,
    ranking: Annotated[
        int, typer.Option("--hidden", "--ranking", help="Number of subsets that decide ranks.")
    ] = DEFAULTS.ranking,
    runs: Annotated[int, typer.Option(help="Number of models trained on each subset.")] = DEFAULTS.runs,
    split: Annotated[
        str, typer.Option(help="protected: a secret seed draws the ranking subsets; open: all subsets are public.")
    ] = DEFAULTS.split,
    version: Annotated[int, typer.Option(help="Version of the benchmark.")] = DEFAULTS.version,
    group: Annotated[
        int | None,
        typer.Option(
            help="Models that train at once (K). Default: the folder's earlier choice, or the recipe's GROUP."
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            help="batched, sequential or vmapped; auto: the fastest in a short trial. Default: the folder's earlier choice; else "
            "auto on a GPU, the recipe's ENGINE on a CPU.",
            show_default=False,
        ),
    ] = None,
    on: Device = device.AUTO,
    shard_size: ShardSize = None,
    shards: Shards = "",
    processes: Processes = 0,
    ray: Ray = "",
    gpus: Gpus = 0,
    public_seed: Annotated[int, typer.Option(help="Root seed of public random numbers.")] = DEFAULTS.public_seed,
    hidden_seed: Annotated[
        str | None,
        typer.Option(
            envvar="LDSBOARD_HIDDEN_SEED",
            help="Secret root seed, 32 hexadecimal digits. Default: drawn at random. Safer as a variable than as an option.",
        ),
    ] = None,
) -> None:
    """Train the models of a benchmark, then write the benchmark. Ctrl-C finishes the running shards and stops."""
    recipe_module, kind = recipes.load(recipe), device_kind(on, ray, gpus)
    if (out / CONFIGURATION).exists():
        started = Configuration.read(out).plan
        engine = started.engine if engine in {None, AUTO} else engine
        group = started.group if group is None else group
    together = recipe_module.GROUP if group is None else group
    plan = Plan(recipe, version, split, public, ranking, runs, together, recipe_module.ENGINE, public_seed)
    if engine == AUTO or (engine, group, kind) == (None, None, device.GPU):
        plan = choose_engine(plan, kind, group)
    elif engine:
        plan = replace(plan, engine=engine)
    train_shards = _shard_trainer(kind, processes, ray, gpus)
    _run(Campaign(out, recipes.load, train_shards, console, shard_size, shards, kind), plan, hidden_seed)


@app.command("remake")
def remake_benchmark(
    benchmark: Annotated[Path, typer.Argument(help="Folder of a benchmark. Only its manifest is read.")],
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for shards and the new benchmark. Repeat the command to continue after an interruption."
        ),
    ],
    *,
    hidden: Annotated[
        Path | None,
        typer.Option(help="The operator's hidden.json. Default: hidden/hidden.json in the benchmark's folder."),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="Path of a recipe file. Default: the recipe with the name in the manifest.")
    ] = None,
    shard_size: ShardSize = None,
    shards: Shards = "",
    processes: Processes = 0,
    ray: Ray = "",
    gpus: Gpus = 0,
) -> None:
    """Train and write a benchmark again from its manifest and any hidden seed. Equal software and processors give equal bytes."""
    if out.resolve() == benchmark.resolve():
        raise ConfigurationError(f"--out is the folder {benchmark} of the benchmark itself. Choose another folder.")
    plan, seed, differences, kind = remake(benchmark, recipes.load, hidden, recipe)
    for difference in differences:
        console.print(f"The remake can differ in some bytes: {difference}.", soft_wrap=True)
    if seed is not None and seed.save(out) != seed:
        raise ConfigurationError(f"{out} holds a different hidden seed than {benchmark}. Choose another folder.")
    hidden_seed = f"{seed.seed:032x}" if seed else None
    train_shards = _shard_trainer(kind, processes, ray, gpus)
    _run(Campaign(out, recipes.load, train_shards, console, shard_size, shards, kind), plan, hidden_seed)


def _shard_trainer(kind: str, processes: int, ray: str, gpus: int) -> ShardTrainer:
    if ray:
        return partial(cluster.train, address=ray, gpus=gpus)
    if gpus:
        raise ConfigurationError(f"--gpus-per-shard {gpus} needs --ray. Add --ray, or leave --gpus-per-shard out.")
    return partial(train_in_processes, count=processes or device.process_count(kind))


def _print_outliers(folder: Path) -> None:
    found = outliers(read_shards(folder / "shards", Configuration.read(folder).digest))
    if found:
        console.print(f"Outliers: {len(found)}. Check these models before you publish the benchmark:")
    for outlier in found:
        console.print(f"  {outlier}", soft_wrap=True)


def _run(campaign: Campaign, plan: Plan, hidden_seed: str | None) -> None:
    """Train. Gather the benchmark if no model is missing and all shards are selected; else print the missing models."""
    outcome, out = campaign.train(plan, hidden_seed), campaign.folder
    if outcome.missing:
        console.print(f"Still missing: models {format_ranges(outcome.missing)}.", soft_wrap=True)
    if outcome.interrupted:
        console.print("Stopped. Repeat the command to continue.")
        raise typer.Exit(128 + signal.SIGINT)
    if outcome.missing or campaign.shards:
        _print_outliers(out)
    if outcome.missing:
        return
    if campaign.shards:  # several machines can get here at once, but only one of them is to gather
        console.print(f"All models are trained. Now run: python -m worker gather {out}", soft_wrap=True)
    elif outcome.attempted or not gathering.is_complete(out):
        gather(out)
    else:
        console.print(f"{out} is complete.", soft_wrap=True)


@app.command()
def gather(
    folder: Annotated[Path, typer.Argument(help="A training folder.")],
    *,
    partial: Annotated[
        bool,
        typer.Option("--partial", help="End each part before its first subset that lacks a model."),
    ] = False,
) -> None:
    """Train the reference models, and write the benchmark from these and from the trained models of a folder."""
    _print_outliers(folder)
    with console.status("gathering the models and training the reference models"):
        manifest = gathering.gather(folder, recipes.load, partial=partial)
    made = manifest.provenance
    console.print(
        f"{manifest.name} version {manifest.version} is in {folder}. Models: {made['models']}; "
        f"processor time: {made['seconds']} s; mean accuracy: {made['accuracy_mean']}; "
        f"noise ceiling: {ceiling_text(manifest.ceiling, manifest.ceiling_std_error, manifest.runs)}.",
        soft_wrap=True,
    )


app.command()(baseline)


app.command("bench")(show_bench)
app.command()(check)
app.command()(counterfactual)


def main() -> None:
    """Run the command line. Print an expected error and exit: with status 1 for a failed process or OSError, otherwise 2."""
    try:
        app(_fill_in_ray_address(sys.argv[1:]))
    except OutOfMemory as error:
        console.print(f"error: {error} {error.advice}", soft_wrap=True)
        sys.exit(2)
    except (BundleError, ConfigurationError, DataError, ProblemError, ProcessError, ShardError) as error:
        console.print(f"error: {error}", soft_wrap=True)
        sys.exit(1 if isinstance(error, ProcessError) else 2)
    except FileNotFoundError as error:
        console.print(f"error: There is no file {error.filename}. Check the path.", soft_wrap=True)
        sys.exit(2)
    except OSError as error:  # disk full, no permission, disk unmounted
        advice = "Finished shards are kept: fix the cause and repeat the command."
        console.print(f"error: {error}. {advice}", soft_wrap=True)
        sys.exit(1)


def _fill_in_ray_address(arguments: list[str]) -> list[str]:
    """Replace ``--ray`` without an address by ``--ray=local``: typer has no options with an optional value."""
    following = [*arguments[1:], "--"]
    return [
        "--ray=local" if argument == "--ray" and then.startswith("-") else argument
        for argument, then in zip(arguments, following, strict=True)
    ]


if __name__ == "__main__":
    main()

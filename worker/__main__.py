"""The trainer's command line: ``python -m worker train | remake | gather | baseline | bench``."""

from __future__ import annotations

import signal
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ldsboard.manifest import BundleError
from worker import bench, cluster, data, device, recipes
from worker.baselines.command import baseline
from worker.campaign import Campaign, Outcome
from worker.choice import AUTO, candidates, fastest
from worker.data import DataError
from worker.gathering import gather as gather_folder
from worker.gathering import is_whole
from worker.memory import OutOfMemory
from worker.outliers import outliers
from worker.plan import CONFIGURATION, Configuration, ConfigurationError, Plan
from worker.processes import ProcessError
from worker.remaking import remake
from worker.shards import ShardError, as_ranges, read_all
from worker.training import train as train_shards

if TYPE_CHECKING:
    from worker.campaign import Trainers

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)
console = Console(stderr=True, markup=False, highlight=False)
DEFAULTS = Plan("")

ShardSize = Annotated[
    int | None, typer.Option(help="Models in a shard file; a multiple of the group. About a hundred when not given.")
]
Shards = Annotated[str, typer.Option(help="Only the shards a-b (from 0, both included); `gather` when all are there.")]
Ray = Annotated[
    str,
    typer.Option(
        metavar="[ADDRESS]",
        help="Train on the Ray cluster at this address; with none given, on one that is started on this machine.",
        show_default=False,
    ),
]
Gpus = Annotated[
    int, typer.Option("--gpus-per-shard", min=0, help="With --ray: GPUs assigned to each shard; 0: a core.")
]
Processes = Annotated[int, typer.Option(min=0, help="Training processes, one thread each; 0: one per core, or GPU.")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, or auto: cuda where there is one.")]


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="Name of the recipe, such as digits-mlp, or the path of one's own.")],
    out: Annotated[Path, typer.Option(help="Folder for shards and benchmark; an interrupted one is continued.")],
    *,
    public: Annotated[int, typer.Option(help="Subsets to tune on.")] = DEFAULTS.public,
    ranking: Annotated[int, typer.Option("--hidden", "--ranking", help="Subsets that rank.")] = DEFAULTS.ranking,
    runs: Annotated[int, typer.Option(help="How often every subset is trained.")] = DEFAULTS.runs,
    split: Annotated[
        str, typer.Option(help="protected: a secret seed draws the subsets that rank; open: all public.")
    ] = (DEFAULTS.split),
    version: Annotated[int, typer.Option(help="Version of the benchmark.")] = DEFAULTS.version,
    group: Annotated[
        int | None,
        typer.Option(
            help="Models that train at once (K); when not given, as the folder was begun, or as the recipe says."
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(
            help="batched, sequential or vmapped; auto: the fastest of a short trial. When not given, as the folder was begun, "
            "or auto on a GPU, or as the recipe says.",
            show_default=False,
        ),
    ] = None,
    on: Device = device.AUTO,
    shard_size: ShardSize = None,
    shards: Shards = "",
    processes: Processes = 0,
    ray: Ray = "",
    gpus: Gpus = 0,
    public_seed: Annotated[int, typer.Option(help="Root seed of all that is public.")] = DEFAULTS.public_seed,
    hidden_seed: Annotated[
        str | None,
        typer.Option(
            envvar="LDSBOARD_HIDDEN_SEED",
            help="Secret root seed, 32 hexadecimal digits; drawn when not given. Safer in the environment.",
        ),
    ] = None,
) -> None:
    """Train the models of a benchmark, and gather them when all are there. Ctrl-C finishes the shards under way."""
    own, kind = recipes.load(recipe), _kind(on, ray, gpus)
    if (out / CONFIGURATION).exists():
        begun = Configuration.read(out).plan
        engine = begun.engine if engine in {None, AUTO} else engine
        group = begun.group if group is None else group
    together = own.GROUP if group is None else group
    plan = Plan(recipe, version, split, public, ranking, runs, together, own.ENGINE, public_seed)
    if engine == AUTO or (engine, group, kind) == (None, None, device.GPU):
        plan = _fastest(plan, kind, group)
    elif engine:
        plan = replace(plan, engine=engine)
    campaign = Campaign(out, recipes.load, _trainers(kind, processes, ray, gpus), console, shard_size, shards, kind)
    _conclude(campaign, campaign.train(plan, hidden_seed))


@app.command("remake")
def make_again(
    benchmark: Annotated[Path, typer.Argument(help="The folder of a benchmark; nothing but its manifest is read.")],
    out: Annotated[
        Path, typer.Option(help="Folder for shards and the new benchmark; an interrupted one is continued.")
    ],
    *,
    hidden: Annotated[
        Path | None, typer.Option(help="The operator's hidden.json; that of the folder when not given.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="Path of one's own recipe; when not given, the recipe of that name here.")
    ] = None,
    shard_size: ShardSize = None,
    shards: Shards = "",
    processes: Processes = 0,
    ray: Ray = "",
    gpus: Gpus = 0,
) -> None:
    """Make a benchmark again from its manifest and hidden seed: the same bytes, with the same versions and processor."""
    if out.resolve() == benchmark.resolve():
        raise ConfigurationError(f"expected another folder than {benchmark} for what is made again, got the same.")
    plan, seed, differences, kind = remake(benchmark, recipes.load, hidden, recipe)
    for difference in differences:
        console.print(f"The bytes may differ: {difference}.", soft_wrap=True)
    if seed is not None and seed.keep(out) != seed:
        raise ConfigurationError(f"{out} holds another hidden seed than {benchmark}. Choose another folder.")
    campaign = Campaign(out, recipes.load, _trainers(kind, processes, ray, gpus), console, shard_size, shards, kind)
    _conclude(campaign, campaign.train(plan, f"{seed.seed:032x}" if seed else None))


def _kind(on: str, ray: str, gpus: int) -> str:
    if on not in (device.AUTO, *device.KINDS):
        raise ConfigurationError(f"expected the device {device.AUTO}, {' or '.join(device.KINDS)}, got {on!r}")
    if on == device.GPU and device.best() != device.GPU:
        raise ConfigurationError(
            "expected a GPU that torch can use, got none. Train on the CPU, or install torch with CUDA."
        )
    if on == device.GPU and ray and not gpus:
        raise ConfigurationError("expected --gpus-per-shard of at least 1 with --ray and --device cuda, got 0")
    if on == device.AUTO and ray and gpus and device.best() != device.GPU:
        raise ConfigurationError(
            "expected a GPU on this machine too, whose name is part of the configuration, got none. Start from a machine that "
            "has the cluster's, or train on its cores with --gpus-per-shard 0."
        )
    if on == device.AUTO:
        return device.CPU if ray and not gpus else device.best()
    return on


def _fastest(plan: Plan, kind: str, group: int | None) -> Plan:
    own = recipes.load(plan.recipe)
    tried = []
    for candidate in candidates(plan, own, data.load(own.DATASET), kind, group):
        console.print(f"  {candidate}", soft_wrap=True)
        tried.append(candidate)
    chosen = fastest(tried)
    console.print(f"The fastest is {chosen.engine}, K = {chosen.group}.", soft_wrap=True)
    return replace(plan, engine=chosen.engine, group=chosen.group)


def _trainers(kind: str, processes: int, ray: str, gpus: int) -> Trainers:
    if ray:
        return partial(cluster.train, address=ray, gpus=gpus)
    if gpus:
        raise ConfigurationError(
            f"expected --gpus-per-shard with --ray alone, got {gpus}. Without Ray each GPU has a process of its own."
        )
    return partial(train_shards, count=processes or device.count(kind))


def _name_outliers(folder: Path) -> None:
    found = outliers(read_all(folder / "shards", Configuration.read(folder).digest))
    if found:
        console.print(f"{len(found)} outliers; look at them before you publish:")
    for outlier in found:
        console.print(f"  {outlier}", soft_wrap=True)


def _conclude(campaign: Campaign, outcome: Outcome) -> None:
    """Gather what is complete; say what is missing."""
    out = campaign.folder
    if outcome.absent:
        console.print(f"Still missing: models {as_ranges(outcome.absent)}.", soft_wrap=True)
    if outcome.interrupted:
        console.print("Stopped as asked. The same command goes on from here.")
        raise typer.Exit(128 + signal.SIGINT)
    if outcome.absent or campaign.shards:
        _name_outliers(out)
    if outcome.absent:
        return
    if campaign.shards:  # several machines may come here at once, and one has to gather
        console.print(f"All models are there. Now: python -m worker gather {out}", soft_wrap=True)
    elif outcome.models or not is_whole(out):
        gather(out)
    else:
        console.print(f"{out} is complete.", soft_wrap=True)


@app.command()
def gather(
    folder: Annotated[Path, typer.Argument(help="A folder that was trained in.")],
    *,
    partial: Annotated[
        bool, typer.Option("--partial", help="Make a smaller benchmark of the subsets before the first missing model.")
    ] = False,
) -> None:
    """Write the benchmark of a folder whose models are all trained."""
    _name_outliers(folder)
    with console.status("gathering, and training the reference models"):
        manifest = gather_folder(folder, recipes.load, partial=partial)
    made = manifest.provenance
    console.print(
        f"{manifest.name} version {manifest.version} is in {folder}: {made['models']} models, {made['seconds']} s of "
        f"processor time, accuracy {made['accuracy_mean']}, ceiling {manifest.ceiling:.3f} ± {manifest.ceiling_std_error:.3f}",
        soft_wrap=True,
    )


app.command()(baseline)


@app.command("bench")
def show_bench(
    names: Annotated[list[str] | None, typer.Argument(metavar="[RECIPE]...", help="Both MLPs when not given.")] = None,
    group: Annotated[int | None, typer.Option(min=1, help="Models that train at once (K); as the recipe says.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often the contenders take turns.")] = 3,
    steps: Annotated[
        int | None,
        typer.Option(
            min=0, help="First steps of each model, timed alone; 0: all, with margins. As long as is bearable."
        ),
    ] = None,
    on: Device = device.AUTO,
) -> None:
    """Time every engine and a notebook's loop beside each other."""
    kind = _kind(on, "", 0)
    for name in names or bench.RECIPES:
        contest = bench.Contest(name, group, kind, steps)
        typer.echo(bench.table(contest, bench.compare(contest, rounds)) + "\n")


def main() -> None:
    """Run the command line; what the user can mend is told in a sentence, with exit code 2."""
    try:
        app(_with_address(sys.argv[1:]))
    except OutOfMemory as error:
        console.print(f"error: {error} {_advice(error)}", soft_wrap=True)
        sys.exit(2)
    except (BundleError, ConfigurationError, DataError, ProcessError, ShardError) as error:
        console.print(f"error: {error}", soft_wrap=True)
        sys.exit(1 if isinstance(error, ProcessError) else 2)
    except OSError as error:  # no room, no right to write, a disk that is gone
        console.print(f"error: {error}. Shards that were finished are kept: mend this and start again.", soft_wrap=True)
        sys.exit(1)


def _with_address(arguments: list[str]) -> list[str]:
    """Give ``--ray`` the address ``local`` where it has none: options with a value of their own choice typer does not know."""
    following = [*arguments[1:], "--"]
    return [
        "--ray=local" if argument == "--ray" and then.startswith("-") else argument
        for argument, then in zip(arguments, following, strict=True)
    ]


def _advice(error: OutOfMemory) -> str:
    if error.fits is None:
        return "Use fewer --processes, or a machine or device with more."
    return (
        f"Restart with --group {error.fits}, in another folder: the shards here hold models that trained {error.group} "
        "at once, and the two give other bytes. Or continue here with fewer --processes, or on a device with more."
    )


if __name__ == "__main__":
    main()

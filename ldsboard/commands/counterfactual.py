"""The command ``ldsboard counterfactual``."""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.table import Table

from ldsboard import cache
from ldsboard.arrays.scores import check_finite
from ldsboard.commands import exits, options
from ldsboard.commands.conversion import TRAIN_TARGET, check_axes, read_file
from ldsboard.commands.exits import errors, fail
from ldsboard.commands.offline import open_pulled
from ldsboard.commands.printing import output, print_json
from ldsboard.commands.progress import scoring_bar
from ldsboard.counterfactual.plan import Plan
from ldsboard.counterfactual.removals import DIRECTIONS, PROPONENTS, Removals
from ldsboard.counts import count
from ldsboard.drafts import EVERYONE, atomic_write
from ldsboard.images import find_images

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ldsboard.bundle import Bundle
    from ldsboard.counterfactual.result import CounterfactualResult
    from ldsboard.formats.headers import ScoreArray

Images = Annotated[
    Path | None,
    typer.Option(metavar="PATH", help="Your copy of the images, an .npz file or a folder, if the benchmark has none."),
]
Targets = Annotated[
    int | None,
    typer.Option(min=1, help="Number of targets, spread over all. Default: that of the benchmark, usually 100."),
]
Processes = Annotated[int, typer.Option(min=0, help="Number of training processes; 0: one for each processor core.")]
Out = Annotated[
    Path | None, typer.Option(metavar="FILE.npz", help="Also write the falls of every target to this file.")
]


def counterfactual(
    scores: options.Scores,
    benchmark: options.Benchmark = None,
    *,
    named_benchmark: options.NamedBenchmark = None,
    images: Images = None,
    targets: Targets = None,
    processes: Processes = 0,
    out: Out = None,
    axes: options.Axes = TRAIN_TARGET,
    key: options.Key = None,
    server: options.Server = None,
    as_json: options.AsJson = False,
) -> None:
    """Retrain models without the examples that a score file names, and print how far the margins of the targets fall.

    This runs the recipe of the pulled benchmark, and needs torch. After an interruption, repeat the command: finished parts are
    kept.
    """
    name, axes = options.benchmark_name(benchmark, named_benchmark), check_axes(axes)
    check_out(out)
    bundle = open_pulled(name, server)
    array = read_file(scores, bundle.manifest.n_train, bundle.manifest.n_targets, axes, key)
    found = find_images(images, bundle.manifest) if images else None
    result = evaluate(bundle, array, found, targets, processes)
    report(result, bundle, out, as_json=as_json)


def check_out(out: Path | None) -> None:
    """Exit if the file cannot be written since its folder does not exist or it is one, before models are trained for it."""
    if out is not None and not out.parent.is_dir():
        fail(exits.USAGE, f"--out: the folder {out.parent} does not exist.")
    if out is not None and out.is_dir():
        fail(exits.USAGE, f"--out: {out} is a folder. Name a file in it, such as {out / 'falls.npz'}.")


def evaluate(
    bundle: Bundle,
    scores_nN: ScoreArray,
    images: Mapping[str, NDArray[np.uint8]] | None,
    targets: int | None,
    count_processes: int,
) -> CounterfactualResult:
    """Retrain what is missing, with a progress bar on a terminal, and return the result; exit with a message if that fails.

    Parameters
    ----------
    bundle
        The benchmark.
    scores_nN
        Scores, (n, N).
    images
        The arrays ``train_images`` and ``target_images``; None: those of the benchmark.
    targets
        Number of targets; None: that of the benchmark.
    count_processes
        Number of processes; 0: one for each core.
    """
    if find_spec("torch") is None:
        fail(exits.USAGE, "The counterfactual evaluation trains models, and needs torch. Install it: pip install torch")
    from ldsboard.retraining import device  # noqa: PLC0415 -- needs torch
    from ldsboard.retraining.evaluation import Evaluation  # noqa: PLC0415
    from ldsboard.retraining.kit import Kit  # noqa: PLC0415
    from ldsboard.retraining.processes import ProcessError  # noqa: PLC0415

    check_finite(scores_nN)
    plan = Plan.of(bundle.manifest, targets)
    evaluation = Evaluation(Kit.of(bundle, images), plan, Removals.of(scores_nN, plan), cache.root() / "counterfactual")
    missing = evaluation.missing()
    models = sum(map(evaluation.models, missing))
    if models:
        errors.print(f"Training {count(models, 'model')}. After an interruption, repeat the command to go on.")
    try:
        with scoring_bar(errors, f"Training {count(models, 'model')}") as progress:
            done = 0
            for trained in evaluation.train(missing, count_processes or device.process_count(device.CPU)):
                done += trained
                if progress:
                    progress(done / models)
    except ProcessError as error:
        fail(exits.UNEXPECTED, str(error))
    except KeyboardInterrupt:
        fail(exits.INTERRUPTED, "Stopped. Repeat the command to go on.")
    return evaluation.result()


def report(result: CounterfactualResult, bundle: Bundle, out: Path | None, *, as_json: bool) -> None:
    """Print a result, and write the falls of every target to a file if there is a path for it."""
    plan, rows = result.plan, result.rows()
    if out is not None:
        falls: Any = {kind: result.margins(kind) for kind in DIRECTIONS}
        with atomic_write(out, mode=EVERYONE) as file:
            np.savez(file, targets=np.array(plan.targets), removed=np.array(plan.sizes), **falls)
    if as_json:
        about = {"benchmark": bundle.manifest.name, "version": bundle.manifest.version, "targets": len(plan.targets)}
        print_json(about | {"runs": plan.runs, "headline": plan.headline, "seconds": result.seconds, "rows": rows})
        return
    table = Table(
        "removed", "examples", "fall of the margin [95 %]", "of others of the class", "rise of the loss", "flipped"
    )
    for row in rows:
        low, high = row["confidence_interval"]
        table.add_row(
            row["direction"],
            f"{row['removed']} ({row['removed'] / bundle.manifest.n_train:.2%})",
            f"{row['fall']:+.3f}" + ("" if low is None else f" [{low:+.3f}, {high:+.3f}]"),
            _number(row["others"]),
            f"{row['loss']:+.3f}",
            f"{row['flipped']:+.1%}",
        )
    output.print(table)
    output.print(headline_text(result, bundle.manifest.n_train), markup=False)
    models = len(rows) * len(plan.targets) * plan.runs
    output.print(f"{count(models, 'model')} took {result.seconds:.1f} s of processor time.")
    for row in rows:
        for note in notes(row, len(plan.targets)):
            errors.print(f"Note: {row['direction']}, {count(row['removed'], 'example')}: {note}")


def headline_text(result: CounterfactualResult, n: int) -> str:
    """Return the headline in a sentence."""
    found, k, plan = result.headline, result.plan.headline, result.plan
    low, high = found.confidence_interval
    interval = "" if math.isnan(low) else f" [{-high:+.3f}, {-low:+.3f}]"
    seeds = "" if math.isnan(found.std_error_runs) else f" (± {found.std_error_runs:.3f} with other seeds)"
    distance = (
        f" (difference: {abs(found.above_control):.1f} standard errors)" if math.isfinite(found.above_control) else ""
    )
    return (
        f"Without the {k} of {n:,} training examples with the highest scores, the margin changes by {-found.fall:+.3f}"
        f"{interval} on average over {count(len(plan.targets), 'target')} "
        f"and {count(plan.runs, 'run')}{seeds}. Without as many random examples, it changes by {-found.control:+.3f}{distance}."
    )


def notes(row: Mapping[str, Any], targets: int) -> list[str]:
    """Return what makes the removals of a row unusual, one text for each mark."""
    positive = "positive" if row["direction"] == PROPONENTS else "negative"
    texts = {
        "ties": "removed and kept examples have equal scores, and the lower index decided",
        "wrong_sign": f"fewer examples have {positive} scores than were removed",
        "whole_class": "all training examples of a class were removed",
    }
    return [f"for {row[mark]} of {targets} targets, {text}." for mark, text in texts.items() if row[mark]]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:+.3f}"

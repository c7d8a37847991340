"""The command line.

``ldsboard score | validate | counterfactual | submit | status | leaderboard | pull | compare | review-link | login | logout``

`ldsboard.commands.exits` lists the exit codes.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ldsboard.arrays.scores import check_finite
from ldsboard.client import Client, ClientError, RefusedError, UnreachableError
from ldsboard.commands import counterfactual, exits, findings, login, options, review, submission
from ldsboard.commands.conversion import TRAIN_TARGET, check_axes, read_file
from ldsboard.commands.exits import errors, fail
from ldsboard.commands.offline import open_pulled, pulled_truth, score_visibly, truth_of
from ldsboard.commands.printing import (
    format_headline_fall,
    format_interval,
    format_place,
    format_replicates,
    format_share,
    output,
    print_json,
    show,
)
from ldsboard.config import ConfigError
from ldsboard.core.comparison import compare as compare_results
from ldsboard.core.kernel import RouteError
from ldsboard.core.replicates import in_words
from ldsboard.identity import open_client
from ldsboard.invocation import program
from ldsboard.manifest import BundleError
from ldsboard.problems import ProblemError

cli = typer.Typer(
    help="Evaluate data attribution methods by the linear datamodeling score (LDS).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@cli.command()
def score(
    scores: options.Scores,
    benchmark: options.Benchmark = None,
    *,
    named_benchmark: options.NamedBenchmark = None,
    axes: options.Axes = TRAIN_TARGET,
    key: options.Key = None,
    server: options.Server = None,
    as_json: options.AsJson = False,
) -> None:
    """Compute the LDS of a score file offline: the public LDS that a server would show for a pulled benchmark."""
    name, axes = options.benchmark_name(benchmark, named_benchmark), check_axes(axes)
    truth = pulled_truth(name, server)
    array = read_file(scores, truth.n_train, truth.n_targets, axes, key)
    result = score_visibly(truth, array, scores.name, bar=not as_json)
    numbers = findings.numbers_of(result, truth.n_train)
    if as_json:
        print_json(numbers)
    else:
        findings.print_result(numbers)


@cli.command()
def validate(
    scores: options.Scores,
    benchmark: options.Benchmark = None,
    *,
    named_benchmark: options.NamedBenchmark = None,
    axes: options.Axes = TRAIN_TARGET,
    key: options.Key = None,
    server: options.Server = None,
) -> None:
    """Check offline whether a pulled benchmark would accept a score file, and whether its scores look right."""
    name, axes = options.benchmark_name(benchmark, named_benchmark), check_axes(axes)
    bundle = open_pulled(name, server)
    array = read_file(scores, bundle.manifest.n_train, bundle.manifest.n_targets, axes, key)
    check_finite(array)
    output.print(f"{scores} fits {name} version {bundle.manifest.version}: {array.dtype} {array.shape}", markup=False)
    truth = truth_of(bundle)
    result = score_visibly(truth, array, scores.name)
    findings.print_orientation(truth, array, result, axes)
    findings.print_result(findings.numbers_of(result, truth.n_train))
    findings.print_zeros(array)


cli.command()(counterfactual.counterfactual)
cli.command()(submission.submit)
cli.command()(review.review_link)
cli.command()(login.login)
cli.command()(login.logout)


@cli.command()
def status(
    submission_id: Annotated[str, typer.Argument(help="Id of a submission.")],
    *,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the result.")] = False,
    timeout: options.Timeout = 600,
    server: options.Server = None,
    token: options.Token = None,
    as_json: options.AsJson = False,
) -> None:
    """Show the state and result of a submission; for a private submission, the token of the owner is required."""
    with open_client(server, token) as client:
        view = client.wait(submission_id, timeout) if wait else client.submission(submission_id)
    show(view, as_json=as_json)
    if wait:
        exits.exit_unless_scored(view)


@cli.command()
def leaderboard(
    benchmark: options.Benchmark = None,
    *,
    named_benchmark: options.NamedBenchmark = None,
    server: options.Server = None,
    as_json: options.AsJson = False,
) -> None:
    """Show the leaderboard of a benchmark."""
    with Client(server) as client:
        board = client.leaderboard(options.benchmark_name(benchmark, named_benchmark))
    if as_json:
        print_json(board)
        return
    ceiling = "unknown" if board["ceiling"] is None else f"{board['ceiling']:.3f}"
    title = f"{board['benchmark']} version {board['version']}, noise ceiling {ceiling}"
    falls = ["fall without top 1 % [95 % interval], rank"] if any(row.get("fall") for row in board["rows"]) else []
    columns = ["rank", "method", "owner", "LDS [95 % interval]", "of ceiling", "separable from first", *falls, "id"]
    table = Table(*columns, title=title)
    for row in board["rows"]:
        rank = "fitted" if row.get("uses_subsets") else format_place(row)
        separable = {None: "", True: "yes", False: "no"}[row.get("separable_from_first")]
        interval = f"{format_interval(row)}{format_replicates(row)}"
        fall = [format_headline_fall(row)] if falls else []
        table.add_row(rank, row["method"], row["owner"], interval, format_share(row), separable, *fall, row["id"])
    output.print(table)
    if any(row.get("in_family") is False for row in board["rows"]):
        output.print("Ranks count the five newest entries of each owner. Other entries have ranks in parentheses.")
    if any(row.get("uses_subsets") for row in board["rows"]):
        output.print("fitted: declared as fitted to these subsets, and not ranked.")


@cli.command()
def pull(
    benchmark: options.Benchmark = None,
    *,
    named_benchmark: options.NamedBenchmark = None,
    server: options.Server = None,
) -> None:
    """Download the public subsets, margins and kit of a benchmark, and print the path of the folder."""
    name = options.benchmark_name(benchmark, named_benchmark)
    with Client(server) as client, errors.status(f"Downloading {name}"):
        folder = client.pull(name)
    print(folder / "public")  # noqa: T201 -- nothing but the path, so that scripts can read it


@cli.command()
def compare(
    a: Annotated[str, typer.Argument(help="Submission id or score file.")],
    b: Annotated[str, typer.Argument(help="Submission id or score file.")],
    benchmark: Annotated[
        str | None, typer.Argument(help="Name of a pulled benchmark; required for score files.")
    ] = None,
    *,
    named_benchmark: options.NamedBenchmark = None,
    more_a: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A replicate of the file A, from another seed; repeat for more."),
    ] = None,
    more_b: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="A replicate of the file B, from another seed; repeat for more."),
    ] = None,
    axes: options.Axes = TRAIN_TARGET,
    key: options.Key = None,
    server: options.Server = None,
    token: options.Token = None,
    as_json: options.AsJson = False,
) -> None:
    """Compare two submissions, or score files offline: print the LDS of A minus the LDS of B, and the p-value.

    With replicates, the mean LDS are compared. The server knows the replicates of submissions.
    """
    axes = check_axes(axes)
    if benchmark or named_benchmark:
        truth = pulled_truth(options.benchmark_name(benchmark, named_benchmark), server)
        shape = truth.n_train, truth.n_targets
        sides = [
            [
                score_visibly(truth, read_file(path, *shape, axes, key), path.name, bar=not as_json)
                for path in (Path(name), *(more or ()))
            ]
            for name, more in ((a, more_a), (b, more_b))
        ]
        found = compare_results(*sides)
        difference = vars(found) | {"ci": found.confidence_interval, "note": found.note, "part": "public"}
    elif more_a or more_b or any(Path(name).exists() for name in (a, b)):
        fail(exits.USAGE, "To compare score files, add --benchmark NAME. Without it, give the ids of two submissions.")
    else:
        with open_client(server, token) as client:
            difference = client.compare(a, b)
    if as_json:
        print_json(difference)
    else:
        output.print(
            f"{difference['difference']:+.4f} (standard error {difference['std_error']:.4f}, p {difference['p_value']:.2g}) "
            f"on the {difference['part']} subsets: {in_words(difference)}"
        )


def main() -> None:
    """Run the command line, and exit with a code that `ldsboard.commands.exits` lists."""
    try:
        cli()
    except RefusedError as error:
        advice = ""
        if error.problem.code.startswith("auth."):
            advice = f" Set LDSBOARD_TOKEN, give --token, or run: {program('ldsboard')} login"
        elif error.retry_after is not None:
            allowed = datetime.now(UTC) + timedelta(seconds=error.retry_after)
            advice = f" Try again after {allowed:%Y-%m-%d %H:%M:%S} UTC."
        fail(exits.exit_code(error.problem), f"{error}{advice}")
    except UnreachableError as error:
        fail(exits.UNREACHABLE, str(error))
    except RouteError as error:
        fail(exits.USAGE, str(error))
    except ProblemError as error:
        fail(exits.exit_code(error.problem), f"{error} [{error.problem.code}]")
    except FileNotFoundError as error:
        missing = f"There is no file {error.filename}. Check the path; the current folder is {Path.cwd()}."
        fail(exits.USAGE, missing if error.filename else str(error))
    except (BundleError, ConfigError, OSError) as error:
        fail(exits.USAGE, str(error))
    except ClientError as error:
        fail(exits.UNEXPECTED, str(error))


if __name__ == "__main__":
    main()

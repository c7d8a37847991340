"""The command line: ``ldsboard score | validate | submit | status | leaderboard | pull | compare``.

`ldsboard.commands.exits` lists the exit codes.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from ldsboard import sending
from ldsboard.arrays.scores import check_finite, check_shape, read_scores
from ldsboard.bundle import Bundle
from ldsboard.cache import pulled
from ldsboard.client import Client, ClientError, RefusedError, UnreachableError
from ldsboard.commands import exits, progress
from ldsboard.commands.exits import errors, fail
from ldsboard.commands.printing import format_interval, format_share, output, print_json, print_warnings, show
from ldsboard.core.comparison import compare as compare_results
from ldsboard.formats.torch_files import as_score_file
from ldsboard.groundtruth import GroundTruth
from ldsboard.manifest import BundleError
from ldsboard.pending import pending_uploads
from ldsboard.problems import ProblemError

cli = typer.Typer(
    help="Evaluate data attribution methods by the linear datamodeling score (LDS).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Scores = Annotated[
    Path,
    typer.Argument(
        help="Score file: .npy, .safetensors or .npz of shape (n training examples, N targets), or a .pt file with one tensor.",
    ),
]
BenchmarkName = Annotated[str, typer.Argument(help="Name of the benchmark.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Server = Annotated[str | None, typer.Option(envvar="LDSBOARD_SERVER", help="Address of the server.")]
Token = Annotated[str | None, typer.Option(envvar="LDSBOARD_TOKEN", help="Token of your account.")]


@cli.command()
def score(scores: Scores, benchmark: BenchmarkName, *, server: Server = None, as_json: AsJson = False) -> None:
    """Compute the LDS of a score file offline, on the public subsets of a pulled benchmark."""
    result = GroundTruth.from_pulled(benchmark, server=server).score(as_score_file(scores))
    low, high = result.confidence_interval
    numbers = {
        "lds": result.lds,
        "std_error": result.std_error,
        "ci": [low, high],
        "mean_p": result.mean_p,
        "z_random": result.z_random,
        "warnings": result.warnings,
    }
    if as_json:
        print_json(numbers)
    else:
        output.print(
            f"Public LDS {format_interval(numbers)}, mean p-value {result.mean_p:.3g}, "
            f"{result.z_random:.1f} standard deviations from random scores"
        )
        print_warnings(result.warnings)


@cli.command()
def validate(scores: Scores, benchmark: BenchmarkName, *, server: Server = None) -> None:
    """Check offline whether a pulled benchmark would accept a score file."""
    manifest = Bundle.open(pulled(benchmark, server)).manifest
    array = read_scores(as_score_file(scores))
    check_shape(array.shape, manifest.n_train, manifest.n_targets)
    check_finite(array)
    output.print(f"{scores} fits {benchmark} version {manifest.version}: {array.dtype} {array.shape}", markup=False)


@cli.command()
def submit(
    scores: Annotated[
        Path | None,
        typer.Argument(help="Score file: .npy, .safetensors or .npz of shape (n, N), or a .pt file with one tensor."),
    ] = None,
    benchmark: Annotated[str | None, typer.Argument(help="Name of the benchmark.")] = None,
    *,
    method: Annotated[str, typer.Option(help="Name of the method: a-z, 0-9, '.', '_' and '-' are allowed.")] = "",
    kind: Annotated[
        str, typer.Option(help="ranked or practice; default: practice if the variable CI is set, otherwise ranked.")
    ] = "",
    visibility: Annotated[str, typer.Option(help="public, anonymous or private.")] = "public",
    title: Annotated[str, typer.Option(help="Title of the submission; default: the name of the method.")] = "",
    resume: Annotated[bool, typer.Option("--resume", help="Resume an interrupted upload.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the result.")] = True,
    timeout: Annotated[float, typer.Option(help="Largest number of seconds to wait.")] = 600,
    min_lds: Annotated[float | None, typer.Option(help="Exit with code 9 if the LDS is below this number.")] = None,
    no_regress_from: Annotated[
        str | None,
        typer.Option(help="Exit with code 9 if the LDS is significantly worse than that of this submission."),
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="Cost to report: seconds of computing.")] = None,
    device: Annotated[str | None, typer.Option(help="Cost to report: device that computed the scores.")] = None,
    models: Annotated[int | None, typer.Option(help="Cost to report: number of models trained.")] = None,
    repository: Annotated[
        str | None,
        typer.Option(envvar=["GITHUB_REPOSITORY", "CI_PROJECT_PATH"], help="Repository that produced the file."),
    ] = None,
    commit: Annotated[
        str | None, typer.Option(envvar=["GITHUB_SHA", "CI_COMMIT_SHA"], help="Commit that produced the file.")
    ] = None,
    server: Server = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Submit a score file to a benchmark, or resume an interrupted upload, and wait for the result."""
    kind = kind or ("practice" if os.environ.get("CI") else "ranked")
    if kind not in ("ranked", "practice"):
        fail(exits.USAGE, f"--kind: expected ranked or practice, got {kind!r}")
    if visibility not in ("public", "anonymous", "private"):
        fail(exits.USAGE, f"--visibility: expected public, anonymous or private, got {visibility!r}")
    with Client(server, token) as client:
        try:
            if resume:
                submission = _resume(client, scores)
            elif scores is None or benchmark is None or not method:
                fail(exits.USAGE, "Give SCORES, BENCHMARK and --method, or --resume.")
            else:
                fields: dict[str, Any] = {"method": method, "kind": kind, "visibility": visibility, "title": title}
                fields["cost"] = {"seconds": seconds, "device": device, "models": models}
                fields["provenance"] = {"repository": repository, "commit": commit}
                scores = as_score_file(scores)
                with progress.upload_bar(errors, scores.name, scores.stat().st_size) as advance:
                    submission = sending.submit(client, benchmark, scores, advance=advance, **fields)
        except (ClientError, KeyboardInterrupt):
            for upload in pending_uploads(client.server, scores):
                errors.print(
                    f"The server keeps the uploaded parts. Resume with: ldsboard submit --resume {upload.path}",
                    markup=False,
                )
            raise
        errors.print(f"Submitted as {submission['id']}: {client.server}{submission['links']['page']}")
        if wait:
            with errors.status("Waiting for the result"):
                submission = client.wait(submission["id"], timeout)
        show(submission, as_json=as_json)
        if wait:
            exits.exit_unless_scored(submission)
            exits.check_gates(client, submission, min_lds, no_regress_from)


def _resume(client: Client, scores: Path | None) -> dict[str, Any]:
    found = pending_uploads(client.server, scores)
    if len(found) != 1:
        got = ", ".join(upload.path for upload in found) or "none"
        fail(
            exits.USAGE,
            f"Expected one interrupted upload to {client.server}, got {got}. Name the file: ldsboard submit --resume SCORES",
        )
    with progress.upload_bar(errors, Path(found[0].path).name, found[0].size) as advance:
        return sending.resume(client, found[0], advance)


@cli.command()
def status(
    submission_id: Annotated[str, typer.Argument(help="Id of a submission.")],
    *,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the result.")] = False,
    timeout: Annotated[float, typer.Option(help="Largest number of seconds to wait.")] = 600,
    server: Server = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Show the state and result of a submission; for a private submission, the token of the owner is required."""
    with Client(server, token) as client:
        submission = client.wait(submission_id, timeout) if wait else client.submission(submission_id)
    show(submission, as_json=as_json)
    if wait:
        exits.exit_unless_scored(submission)


@cli.command()
def leaderboard(benchmark: BenchmarkName, *, server: Server = None, as_json: AsJson = False) -> None:
    """Show the leaderboard of a benchmark."""
    with Client(server) as client:
        board = client.leaderboard(benchmark)
    if as_json:
        print_json(board)
        return
    ceiling = "unknown" if board["ceiling"] is None else f"{board['ceiling']:.3f}"
    title = f"{board['benchmark']} version {board['version']}, noise ceiling {ceiling}"
    table = Table("rank", "method", "owner", "LDS [95 % interval]", "of ceiling", "id", title=title)
    for row in board["rows"]:
        low, high = row["rank"]
        rank = str(low) if low == high else f"{low}-{high}"
        table.add_row(rank, row["method"], row["owner"], format_interval(row), format_share(row), row["id"])
    output.print(table)


@cli.command()
def pull(benchmark: BenchmarkName, *, server: Server = None) -> None:
    """Download the public subsets, margins and kit of a benchmark, and print the path of the folder."""
    with Client(server) as client, errors.status(f"Downloading {benchmark}"):
        folder = client.pull(benchmark)
    print(folder / "public")  # noqa: T201 -- nothing but the path, so that scripts can read it


@cli.command()
def compare(
    a: Annotated[str, typer.Argument(help="Submission id or score file.")],
    b: Annotated[str, typer.Argument(help="Submission id or score file.")],
    *,
    benchmark: Annotated[str | None, typer.Option(help="Name of a pulled benchmark; required for score files.")] = None,
    server: Server = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Compare two submissions, or two score files offline: print the LDS of A minus the LDS of B, and the p-value."""
    if benchmark is None and any(Path(name).exists() for name in (a, b)):
        fail(exits.USAGE, "To compare score files, add --benchmark NAME. Without it, give the ids of two submissions.")
    if benchmark is not None:
        truth = GroundTruth.from_pulled(benchmark, server=server)
        results = [truth.score(as_score_file(Path(name))) for name in (a, b)]
        difference = vars(compare_results(*results)) | {"part": "public"}
    else:
        with Client(server, token) as client:
            difference = client.compare(a, b)
    if as_json:
        print_json(difference)
    else:
        output.print(
            f"{difference['difference']:+.4f} (standard error {difference['std_error']:.4f}, p {difference['p_value']:.2g}) "
            f"on the {difference['part']} subsets"
        )


def main() -> None:
    """Run the command line, and exit with a code that `ldsboard.commands.exits` lists."""
    try:
        cli()
    except RefusedError as error:
        advice = ""
        if error.problem.code.startswith("auth."):
            advice = " Set LDSBOARD_TOKEN or give --token."
        elif error.retry_after is not None:
            allowed = datetime.now(UTC) + timedelta(seconds=error.retry_after)
            advice = f" Try again after {allowed:%Y-%m-%d %H:%M:%S} UTC."
        fail(exits.exit_code(error.problem), f"{error}{advice}")
    except UnreachableError as error:
        fail(exits.UNREACHABLE, str(error))
    except ProblemError as error:
        fail(exits.exit_code(error.problem), f"{error} [{error.problem.code}]")
    except (BundleError, OSError) as error:
        fail(exits.USAGE, str(error))
    except ClientError as error:
        fail(exits.UNEXPECTED, str(error))


if __name__ == "__main__":
    main()

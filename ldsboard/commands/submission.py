"""The command ``ldsboard submit``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from ldsboard import sending
from ldsboard.commands import gates, options
from ldsboard.commands.conversion import TRAIN_TARGET, check_axes
from ldsboard.commands.exits import USAGE, fail
from ldsboard.commands.submission_run import SubmissionRun
from ldsboard.environment import find_origin, in_ci
from ldsboard.identity import open_client

KINDS, VISIBILITIES = ("ranked", "practice"), ("public", "anonymous", "private")
NO_COST = {"seconds": None, "device": None, "models": None}


def submit(
    scores: Annotated[Path | None, typer.Argument(help=options.SCORES_HELP)] = None,
    benchmark: options.Benchmark = None,
    *,
    named_benchmark: options.NamedBenchmark = None,
    method: Annotated[str, typer.Option(help="Name of the method: a-z, 0-9, '.', '_' and '-' are allowed.")] = "",
    kind: Annotated[str, typer.Option(help="ranked or practice; default: practice in a CI, otherwise ranked.")] = "",
    practice: Annotated[bool, typer.Option("--practice", help="The same as --kind practice.")] = False,
    ranked: Annotated[bool, typer.Option("--ranked", help="The same as --kind ranked.")] = False,
    visibility: Annotated[str, typer.Option(help="public, anonymous or private.")] = "public",
    title: Annotated[str, typer.Option(help="Title of the submission; default: the name of the method.")] = "",
    description: Annotated[str, typer.Option(help="Description of the submission, in plain text.")] = "",
    paper: Annotated[str, typer.Option(metavar="URL", help="Address of the paper.")] = "",
    code: Annotated[str, typer.Option(metavar="URL", help="Address of the code.")] = "",
    tag: Annotated[list[str] | None, typer.Option(help="Tag of the submission; repeat the option for more.")] = None,
    replicate_of: Annotated[
        str,
        typer.Option(
            metavar="ID",
            help="Your submission of the same method that this file replicates with another seed; the board lists the mean.",
        ),
    ] = "",
    uses_subsets: Annotated[
        bool,
        typer.Option(
            "--uses-subsets",
            help="Declare that the method was fitted to the ranking subsets of a practice board, or to their margins; the entry "
            "then has no rank.",
        ),
    ] = False,
    axes: options.Axes = TRAIN_TARGET,
    key: options.Key = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check: nothing is saved or counted.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Resume an interrupted upload.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the result.")] = True,
    timeout: options.Timeout = 600,
    min_lds: Annotated[
        float | None,
        typer.Option(callback=options.finite, help="Exit with code 9 if the LDS is below this number."),
    ] = None,
    no_regress_from: Annotated[
        str | None,
        typer.Option(
            metavar="ID|latest",
            help="Exit with code 9 if the LDS is significantly below that of this submission, by more than --tolerance. "
            "latest: the newest submission of the method from the default branch.",
        ),
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option(
            callback=options.not_negative,
            help="Drop of the LDS that --no-regress-from accepts. With 2 or more, the difference is only reported, and does not "
            "change the subsets of --min-lds.",
        ),
    ] = gates.TOLERANCE,
    seconds: Annotated[
        float | None, typer.Option(callback=options.not_negative, help="Cost to report: seconds of computing.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="Cost to report: device that computed the scores.")] = None,
    models: Annotated[
        int | None, typer.Option(min=0, max=2**31 - 1, help="Cost to report: number of models trained.")
    ] = None,
    repository: Annotated[
        str | None, typer.Option(help="Repository that produced the file; default: the one that the CI names.")
    ] = None,
    commit: Annotated[
        str | None, typer.Option(help="Commit that produced the file; default: the one that the CI names.")
    ] = None,
    branch: Annotated[
        str | None, typer.Option(help="Branch of the commit; default: the one that the CI names.")
    ] = None,
    default_branch: Annotated[
        str | None,
        typer.Option(help="Branch for --no-regress-from latest; default: the default branch that the CI names."),
    ] = None,
    owner: Annotated[
        str,
        typer.Option(
            envvar="LDSBOARD_OWNER",
            metavar="USER",
            help="Your user name on the server; needed in a CI without a token, because anybody can trust a workflow.",
        ),
    ] = "",
    server: options.Server = None,
    token: options.Token = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print errors and warnings only, and with --json the JSON.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Submit a score file to a benchmark, or resume an interrupted upload, and wait for the result."""
    stated_kind, axes = kind or practice or ranked, check_axes(axes)
    kind = _kind(kind, practice=practice, ranked=ranked)
    if visibility not in VISIBILITIES:
        fail(USAGE, f"--visibility: expected public, anonymous or private, got {visibility!r}")
    wanted = gates.Gates(min_lds, no_regress_from, tolerance)
    if not resume:
        gates.check_usage(wanted, visibility, waits=wait and not dry_run)
    stated_origin: dict[str, Any] = {
        "repository": repository,
        "commit": commit,
        "branch": branch,
        "default_branch": default_branch,
    }
    origin = replace(find_origin(), **{name: value for name, value in stated_origin.items() if value})
    if dry_run and resume:
        fail(USAGE, "--dry-run saves nothing, so there is nothing to resume: leave out --resume.")
    if not resume and (scores is None or not (benchmark or named_benchmark) or not method):
        fail(USAGE, "Give SCORES, BENCHMARK and --method, or --resume.")
    fields: dict[str, Any] = {"method": method, "kind": kind, "visibility": visibility, "title": title}
    optional: dict[str, Any] = {"description": description, "paper": paper, "code": code, "tags": tag}
    optional |= {"replicate_of": replicate_of, "uses_subsets": uses_subsets}
    fields |= {name: value for name, value in optional.items() if value}
    fields["cost"] = {"seconds": seconds, "device": device or None, "models": models}
    fields["provenance"] = origin.provenance()
    with open_client(server, token, method=method, owner=owner) as client:
        run = SubmissionRun(client, wanted, origin, timeout, wait=wait, quiet=quiet, as_json=as_json)
        if scores is None or resume:
            defaults = {"kind": kind if not stated_kind else None, "visibility": "public", "cost": NO_COST}
            stated = fields | {"benchmark": benchmark or named_benchmark, "provenance": None}
            run.resume(scores, {name: value for name, value in stated.items() if value and value != defaults.get(name)})
        else:
            name = options.benchmark_name(benchmark, named_benchmark)
            sending.check_texts(fields | {"benchmark": name})
            (run.check if dry_run else run.submit)(scores, {"axes": axes, "key": key}, name, fields)


def _kind(kind: str, *, practice: bool, ranked: bool) -> str:
    """Return the kind that ``--kind``, ``--practice`` or ``--ranked`` states; by default practice in a CI, otherwise ranked.

    Exit if the options state different kinds, or an unknown kind.
    """
    stated = {name for name, given in (("practice", practice), ("ranked", ranked)) if given} | (
        {kind} if kind else set()
    )
    if len(stated) > 1:
        fail(USAGE, f"Expected one kind of submission, got {' and '.join(sorted(stated))}.")
    chosen = stated.pop() if stated else ("practice" if in_ci() else "ranked")
    if chosen not in KINDS:
        fail(USAGE, f"--kind: expected {' or '.join(KINDS)}, got {chosen!r}")
    return chosen

"""The operator's commands ``python -m app benchmark reserve`` and ``python -m app benchmark retire``."""

from __future__ import annotations

from typing import Annotated

import typer

from app.accounts import audit
from app.accounts.audit import OPERATOR, Action
from app.benchmarks import catalog
from app.cli.common import fail, open_database
from app.db.base import now
from app.scoring import reserve
from app.submissions import multipart
from ldsboard.counts import count
from ldsboard.problems import ProblemError


def show_reserve(
    name: Annotated[str, typer.Argument(help="Name of the benchmark.")],
    *,
    version: Annotated[
        int | None,
        typer.Option(min=1, help="Version of the benchmark; by default the current version.", show_default=False),
    ] = None,
) -> None:
    """Compare every scored ranked submission with the reserve, and mark files that may be fitted to the answers.

    These numbers are for the operator only, until the benchmark is retired.
    """
    with open_database(ProblemError) as (_, database), database.read() as session:
        found = catalog.find_version(session, name, version)
        checked = reserve.list_checked(session, found)
        subsets, answered = found.reserve_subsets, found.manifest["subsets"]["ranking"]
        number = found.version
    if not subsets:
        typer.echo(f"{name} version {number} has no reserve.")
        return
    typer.echo(f"{name} version {number}: {answered} ranking subsets are answered, {subsets} are in the reserve.")
    for each in checked:
        check = each.check
        typer.echo(
            f"{each.submission_id}  {each.method} by {each.owner}  LDS {each.answered_lds:.4f}  reserve {each.reserve_lds:.4f}  "
            f"difference {check.difference:+.4f} ± {check.std_error:.4f}  z {check.z:+.1f}  p {check.p_value:.2g}"
            f"{'  FLAGGED' if check.is_flagged else ''}"
        )
    flagged = sum(each.check.is_flagged for each in checked)
    typer.echo(f"{count(len(checked), 'submission')}, {flagged} flagged.")


def retire_benchmark(
    name: Annotated[str, typer.Argument(help="Name of the benchmark.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Retire without asking.")] = False,
) -> None:
    """End a benchmark for good: it takes no more submissions and versions, and results on the reserve are shown.

    Uploads under way are refused. Submissions whose file has arrived are scored.
    """
    with open_database(ProblemError) as (_, database):
        with database.read() as session:
            retired_at = catalog.find_version(session, name).benchmark.retired_at
        if retired_at is None and not yes:
            # No transaction is open, so that the server can write while the operator thinks.
            typer.confirm(f"Retire {name}? It will take no more submissions. This cannot be undone.", abort=True)
        with database.write() as session:
            retired = catalog.find_version(session, name).benchmark
            if retired.retired_at is not None:
                raise fail(f"{name} was retired on {retired.retired_at:%Y-%m-%d}.")
            retired.retired_at = now()
            multipart.cancel_retired(session, retired.id)
            audit.record_action(session, OPERATOR, Action.BENCHMARK_RETIRED, name)
            has_reserve = any(version.reserve_subsets for version in retired.versions)
    shown = " The pages of its submissions show their results on the reserve." if has_reserve else ""
    typer.echo(f"{name} is retired.{shown}")

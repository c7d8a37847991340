"""Response models of leaderboards and benchmarks, built from the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from app.benchmarks.catalog import all_subsets_rank, count_subsets, has_ranks
from app.db.models import Submission, Version, Visibility
from app.db.uploads import Provenance
from app.leaderboard.attempts import count_all_attempts
from app.leaderboard.disclosure import DECIMALS, benchmark_numbers, ranking_fields, round_lds
from app.leaderboard.entries import Entry, comparable, list_entries
from app.leaderboard.falls import add_falls, headline_falls
from app.leaderboard.schemas import AllUsers, BenchmarkView, Best, HeadlineFall, LeaderboardView, Row
from app.submissions import provenance, visibility
from ldsboard.core.ceiling import attempt_gain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session


def leaderboard_view(
    session: Session,
    version: Version,
    *,
    after: int = 0,
    limit: int | None = None,
    entries: Sequence[Entry] | None = None,
) -> LeaderboardView:
    """Return the leaderboard of a version: skip `after` rows, then return at most `limit` rows, by default all.

    Parameters
    ----------
    entries
        Result of `list_entries` or `app.leaderboard.falls.add_falls`, or a selection of these entries. If None, all entries with
        their falls are read. Only then, ``all_users`` of the result is filled.
    """
    everybody = None
    if entries is None:
        entries = add_falls(session, version, list_entries(session, version))
        everybody = all_users(session, version, entries)
    limit = len(entries) if limit is None else limit
    page = entries[after : after + limit]
    manifest = _published_manifest(version)
    ids = [entry.id for entry in page]
    query = select(*ROW_COLUMNS).outerjoin(Provenance, Provenance.submission_id == Submission.id)
    # Of several rows of one submission, the last has the newest provenance.
    found = session.connection().execute(query.where(Submission.id.in_(ids)).order_by(Provenance.id))
    details = {row.id: row for row in found}
    falls = headline_falls(session, version, page)
    name = version.benchmark.name
    next_page = f"/api/v1/benchmarks/{name}/leaderboard?version={version.version}&after={after + limit}&limit={limit}"
    return LeaderboardView(
        benchmark=name,
        version=version.version,
        ranked=manifest["ranked"],
        ceiling=manifest["ceiling"],
        ceiling_std_error=manifest["ceiling_std_error"],
        null_band=manifest["null_band"],
        all_users=everybody,
        rows=[_row(entry, manifest, details[entry.id], falls.get(entry.id)) for entry in page],
        next=next_page if after + limit < len(entries) else None,
    )


ROW_COLUMNS = (
    Submission.id,
    Submission.visibility,
    Submission.urls,
    Submission.cost,
    *provenance.COLUMNS,
)
"""Columns that the rows of a leaderboard need in addition to the fields of `Entry`."""


def _row(entry: Entry, manifest: dict[str, Any], details: Any, fall: HeadlineFall | None) -> Row:
    if entry.rank_low is None or entry.rank_high is None:
        raise LookupError(f"The listed entry {entry.id} has no rank.")
    numbers = entry_fields(entry, manifest)
    ranked = manifest["ranked"] and not entry.uses_subsets
    gain = None
    attempts = None if manifest["all_subsets_rank"] else entry.attempts
    if attempts is not None and entry.usable_attempts is not None and manifest["split"] == "protected":
        gain = _possible_gain(numbers["lds"], entry.usable_attempts, manifest)
    named, identity = details.visibility != Visibility.ANONYMOUS, entry.identity
    return Row(
        id=entry.id,
        owner=identity.owner,
        method=identity.method,
        title=identity.title,
        tags=identity.tags,
        urls=details.urls if named else identity.urls,
        **numbers,
        replicates=entry.replicates,
        spread=None if entry.spread is None else round_lds(entry.spread, manifest["split"]),
        rank=(entry.rank_low, entry.rank_high) if ranked else None,
        in_family=entry.in_family if ranked else None,
        separable_from_first=entry.separable_from_first if ranked else None,
        attempts=attempts,
        possible_gain=gain,
        cost=visibility.visible_cost(details.cost, named=named),
        provenance=(provenance.as_dict(details) or None) if named else None,
        uses_subsets=entry.uses_subsets,
        fall=fall,
        created_at=entry.created_at,
    )


def entry_fields(entry: Entry, manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the published numbers of an entry, with the fields of `ranking_fields`.

    ``fitted`` is true if the LDS of the entry or of one of its replicates is higher than the runs allow. Without the check of
    each replicate, the mean over fitted and other files could hide the fitted files.
    """
    fields = ranking_fields(entry, manifest)
    return fields | {"fitted": fields["fitted"] or entry.has_fitted_replicate}


def _possible_gain(lds: float, attempts: int, manifest: dict[str, Any]) -> float:
    """Return the bound of `attempt_gain` on the ranking subsets, rounded; `lds` and `manifest` hold published numbers."""
    gain = attempt_gain(lds, attempts, manifest["attempts_spectrum"], manifest["subsets"]["ranking"])
    return round(gain, DECIMALS)


def all_users(session: Session, version: Version, entries: Sequence[Entry]) -> AllUsers | None:
    """Return the attempts of all users at a version, and the gain that is possible if all users are one person.

    `entries` holds all entries of the board. The result is None for an open benchmark, and if no entry has a rank.
    """
    manifest = _published_manifest(version)
    if not (ranked := comparable(entries)) or not manifest["ranked"] or manifest["split"] == "open":
        return None
    attempts = count_all_attempts(session, version)
    best = entry_fields(ranked[0], manifest)["lds"]
    return AllUsers(attempts=attempts, possible_gain=_possible_gain(best, attempts, manifest))


def benchmark_view(session: Session, version: Version, entries: Sequence[Entry] | None = None) -> BenchmarkView:
    """Return a benchmark version as a response model. `entries` is the result of `list_entries`; None: read the entries."""
    manifest = _published_manifest(version)
    fields = {name: manifest[name] for name in BenchmarkView.model_fields if name in manifest}
    entries = list_entries(session, version) if entries is None else entries
    best = None
    # Without hidden subsets and without a ceiling, nothing tells a good method from one that was fitted to the subsets.
    knows_fitted = manifest["split"] == "protected" or manifest["ceiling"] is not None
    candidates = comparable(entries) if manifest["ranked"] and knows_fitted else []
    shown = ((entry.identity, entry_fields(entry, manifest)) for entry in candidates)
    if found := next((each for each in shown if not each[1]["fitted"]), None):
        identity, numbers = found
        best = Best(method=identity.method, owner=identity.owner, lds=numbers["lds"], of_ceiling=numbers["of_ceiling"])
    current = version.benchmark.current_version
    versions = [other.version for other in version.benchmark.versions if other.version <= current]
    return BenchmarkView(
        **fields,
        reserve_subsets=version.reserve_subsets,
        retired_at=version.benchmark.retired_at,
        versions=versions,
        entries=len(entries),
        best=best,
    )


def _published_manifest(version: Version) -> dict[str, Any]:
    """Return the manifest of a version with rounded numbers, and with ``subset_count``, ``ranked`` and ``all_subsets_rank``."""
    manifest = version.manifest
    return manifest | {
        **benchmark_numbers(manifest),
        "subset_count": count_subsets(manifest),
        "ranked": has_ranks(manifest),
        "all_subsets_rank": all_subsets_rank(manifest),
    }

"""The leaderboard: which submissions are listed, in which order, and with which ranks."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sqlalchemy import Text, and_, func, select, type_coerce

from app.db.accounts import User
from app.db.models import Alias, Evaluation, Kind, Measurement, State, Submission, Version, Visibility
from app.services import provenance, visibility
from app.services.benchmarks import compatible
from app.services.views import BenchmarkView, Best, LeaderboardView, Row, published, ranking_numbers
from ldsboard.ceiling import attempt_gain
from ldsboard.comparison import rank_intervals

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session


class Entry(NamedTuple):
    """A listed submission as visitors know it, and its numbers on the ranking subsets, which leave only as `ranking_numbers`."""

    known: visibility.Identity
    attempts: int | None
    id: str
    evaluation_id: int
    created_at: datetime
    seconds: float | None
    rank_low: int | None
    rank_high: int | None
    lds: float
    std_error: float
    ci_low: float
    ci_high: float
    z_random: float


def listed(session: Session, version: Version) -> list[Entry]:
    """Return the entries of a version, best first: of each owner and method the pinned or the newest ranked one that was scored.

    What is anonymous stands for itself: it does not go when its owner sends the same method under their name, which would tell
    whose it is. Equal scores, as they are published, stand in the order of submission. A page needs all entries of a board to
    sort and search them; so columns are read, not objects, and what only rows show is left to `view`.
    """
    query = (
        select(
            Submission.user_id,
            Submission.visibility,
            Submission.method,
            Submission.title,
            type_coerce(Submission.tags, Text),  # parsed once where equal: many are
            User.name,
            Alias.number,
            # From here on as in an entry.
            Submission.id,
            Evaluation.id,
            Submission.created_at,
            Submission.cost["seconds"].as_float(),
            Evaluation.rank_low,
            Evaluation.rank_high,
            Measurement.lds,
            Measurement.std_error,
            Measurement.ci_low,
            Measurement.ci_high,
            Measurement.z_random,
        )
        .join(User, User.id == Submission.user_id)
        .join(Evaluation, Evaluation.submission_id == Submission.id)
        .join(Measurement, Measurement.evaluation_id == Evaluation.id)
        .outerjoin(Alias, and_(Alias.user_id == Submission.user_id, Alias.benchmark_id == version.benchmark_id))
        .where(
            Evaluation.version_id == version.id,
            Evaluation.scorer_version == version.scorer_version,
            Measurement.part == "ranking",
            Submission.kind == Kind.RANKED,
            Submission.state == State.SCORED,
            Submission.visibility != Visibility.PRIVATE,
        )
        .order_by(Submission.pinned, Submission.created_at, Submission.id)
    )
    made = attempts(session, version)
    parsed = cache(json.loads)
    newest = {}
    for user_id, seen_by, method, title, tags, name, number, *rest in session.execute(query):
        if seen_by == Visibility.ANONYMOUS:
            entry = Entry(visibility.unnamed(number), None, *rest)  # equal attempts would tell whose it is
        else:
            known = visibility.Identity(name, method, title, "", parsed(tags), {}, None, None)
            entry = Entry(known, made[user_id], *rest)
        newest[user_id, method, seen_by] = entry

    def place(entry: Entry) -> tuple[float, object, str]:
        lds = published({"lds": entry.lds}, version.manifest["split"])["lds"]
        return (-lds, entry.created_at, entry.id)

    return sorted(newest.values(), key=place)


def standing_for(session: Session, submission: Submission) -> Submission:
    """Return the submission that a board lists for the owner and method of a ranked one: itself, or what took its place.

    One that is anonymous or private has no place that another could take: that would tell that both are of one owner.
    """
    if submission.kind != Kind.RANKED or submission.visibility != Visibility.PUBLIC:
        return submission
    benchmark = submission.version.benchmark
    query = (
        select(Submission)
        .join(Evaluation, Evaluation.submission_id == Submission.id)
        .join(Version, Version.id == Evaluation.version_id)
        .where(
            Submission.user_id == submission.user_id,
            Submission.method == submission.method,
            Submission.visibility == Visibility.PUBLIC,
            Version.benchmark_id == benchmark.id,
            Version.version <= benchmark.current_version,
            Evaluation.rank_low.is_not(None),
        )
        .order_by(Submission.id != submission.id, Version.version.desc())
    )
    return session.scalars(query.limit(1)).first() or submission


def rank(session: Session, version: Version) -> None:
    """Decide the rank intervals of all listed entries again, and store them with their evaluations."""
    evaluations = session.scalars(select(Evaluation).where(Evaluation.version_id == version.id)).all()
    for evaluation in evaluations:
        evaluation.rank_low = evaluation.rank_high = None
    entries = listed(session, version)
    if not entries:
        return
    ids = [entry.evaluation_id for entry in entries]
    query = select(Measurement.evaluation_id, Measurement.influence).where(
        Measurement.evaluation_id.in_(ids), Measurement.part == "ranking"
    )
    influences = dict(session.execute(query).all())
    influence_kM = np.stack([np.frombuffer(influences[i], dtype="<f8") for i in ids])
    intervals = rank_intervals([entry.lds for entry in entries], influence_kM)
    by_id = {evaluation.id: evaluation for evaluation in evaluations}
    for i, (low, high) in zip(ids, intervals, strict=True):
        by_id[i].rank_low, by_id[i].rank_high = low, high


def view(
    session: Session,
    version: Version,
    *,
    after: int = 0,
    limit: int | None = None,
    entries: Sequence[Entry] | None = None,
) -> LeaderboardView:
    """Return a page of the leaderboard of a version, by default all of it; `entries` are those of `listed`, or some of them."""
    entries = listed(session, version) if entries is None else entries
    limit = len(entries) if limit is None else limit
    page = entries[after : after + limit]
    manifest = version.manifest
    ids = [entry.id for entry in page]
    details = {row.id: row for row in session.execute(select(*DETAILS).where(Submission.id.in_(ids)))}
    origins = provenance.newest(session, ids)
    name = version.benchmark.name
    more = f"/api/v1/benchmarks/{name}/leaderboard?version={version.version}&after={after + limit}&limit={limit}"
    return LeaderboardView(
        benchmark=name,
        version=version.version,
        ceiling=manifest["ceiling"],
        ceiling_std_error=manifest["ceiling_std_error"],
        null_band=manifest["null_band"],
        rows=[_row(entry, manifest, details[entry.id], origins.get(entry.id)) for entry in page],
        next=more if after + limit < len(entries) else None,
    )


DETAILS = (Submission.id, Submission.visibility, Submission.urls, Submission.cost)
"""What the rows of a page show beside what is in an entry."""


def _row(entry: Entry, manifest: dict[str, Any], details: Any, origin: dict[str, Any] | None) -> Row:
    if entry.rank_low is None or entry.rank_high is None:
        raise LookupError(f"expected ranks of every listed entry, got none of {entry.id}")
    numbers = ranking_numbers(entry, manifest, (entry.rank_low, entry.rank_high))
    gain = None
    if entry.attempts is not None:
        spectrum, M = manifest["attempts_spectrum"], manifest["subsets"]["ranking"]
        gain = round(attempt_gain(numbers.lds, entry.attempts, spectrum, M), 4)
    named = details.visibility != Visibility.ANONYMOUS
    return Row(
        id=entry.id,
        owner=entry.known.owner,
        method=entry.known.method,
        title=entry.known.title,
        tags=entry.known.tags,
        urls=details.urls if named else {},
        **numbers.model_dump(),
        attempts=entry.attempts,
        possible_gain=gain,
        cost=visibility.told_cost(details.cost, named=named),
        provenance=origin if named else None,
        created_at=entry.created_at,
    )


def attempts(session: Session, version: Version) -> dict[int, int]:
    """Return how many ranked submissions each user made to a version, over all methods, whatever became of them.

    Those to earlier versions that it is compatible with are among them, since what was learned there is of use here.
    """
    query = select(Submission.user_id, func.count()).where(Submission.version_id.in_(_met(version)), *COUNTED)
    return dict(session.execute(query.group_by(Submission.user_id)).all())


def attempts_of(session: Session, version: Version, user_id: int) -> int:
    """Return how many of the `attempts` at a version are those of one user."""
    # Filtered and not selected, or else SQLite may look through the whole board, which has an index on kind and state.
    query = select(func.count().filter(*COUNTED))
    query = query.where(Submission.user_id == user_id, Submission.version_id.in_(_met(version)))
    return session.scalar(query) or 0


COUNTED = (
    Submission.kind == Kind.RANKED,
    Submission.counted,
    Submission.state.in_([State.SCORED, State.REJECTED, State.WITHDRAWN]),
)
"""What holds of a submission that is an attempt at its version."""


def _met(version: Version) -> list[int]:
    """Return the versions whose attempts are attempts at this one."""
    return [
        known.id
        for known in version.benchmark.versions
        if known.version <= version.version and compatible(known, version)
    ]


def benchmark_view(session: Session, version: Version, entries: Sequence[Entry] | None = None) -> BenchmarkView:
    """Return a benchmark as everybody sees it; `entries` are those of `listed`, if known."""
    manifest = version.manifest
    shown = {name: manifest[name] for name in BenchmarkView.model_fields if name in manifest}
    entries = listed(session, version) if entries is None else entries
    best = None
    if entries:
        known, numbers = entries[0].known, ranking_numbers(entries[0], manifest, None)
        best = Best(method=known.method, owner=known.owner, lds=numbers.lds, of_ceiling=numbers.of_ceiling)
    current = version.benchmark.current_version
    versions = [known.version for known in version.benchmark.versions if known.version <= current]
    return BenchmarkView(**shown, versions=versions, entries=len(entries), best=best)

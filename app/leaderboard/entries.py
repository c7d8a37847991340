"""The entries of a leaderboard and their order."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Text, and_, select, type_coerce

from app.db.accounts import User
from app.db.models import Alias, Evaluation, Kind, Measurement, State, Submission, Version, Visibility
from app.leaderboard.attempts import count_attempts
from app.leaderboard.disclosure import published
from app.submissions import visibility

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session


class Entry(NamedTuple):
    """A listed submission as visitors know it, and its numbers on the ranking subsets, which leave only as `ranking_numbers`."""

    identity: visibility.PublicIdentity
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


def list_entries(session: Session, version: Version) -> list[Entry]:
    """Return the entries of a version, best first: of each owner and method the pinned or the newest ranked one that was scored.

    What is anonymous stands for itself: it does not go when its owner sends the same method under their name, which would tell
    whose it is. Equal scores, as they are published, stand in the order of submission. A page needs all entries of a board to
    sort and search them; so columns are read, not objects, and what only rows show is left to `leaderboard_view`.
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
    made = count_attempts(session, version)
    parsed = cache(json.loads)
    newest = {}
    for user_id, seen_by, method, title, tags, name, number, *rest in session.execute(query):
        if seen_by == Visibility.ANONYMOUS:
            entry = Entry(visibility.anonymous_identity(number), None, *rest)  # equal attempts would tell whose it is
        else:
            identity = visibility.PublicIdentity(name, method, title, "", parsed(tags), {}, None, None)
            entry = Entry(identity, made[user_id], *rest)
        newest[user_id, method, seen_by] = entry

    def place(entry: Entry) -> tuple[float, object, str]:
        lds = published({"lds": entry.lds}, version.manifest["split"])["lds"]
        return (-lds, entry.created_at, entry.id)

    return sorted(newest.values(), key=place)


def find_listed(session: Session, submission: Submission) -> Submission:
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

"""The entries of a leaderboard: selection and order."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from pydantic_core import from_json
from sqlalchemy import Boolean, Text, and_, bindparam, cast, exists, not_, null, or_, select
from sqlalchemy.orm import aliased

from app.benchmarks.catalog import has_hidden_subsets
from app.db.accounts import User
from app.db.models import Alias, Benchmark, Evaluation, Kind, Measurement, State, Submission, Version, Visibility
from app.leaderboard.attempts import count_attempts
from app.leaderboard.disclosure import round_lds
from app.submissions import visibility

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import BindParameter, ColumnElement, Select
    from sqlalchemy.orm import Session


class Fall(NamedTuple):
    """The mean fall of the margin of an entry without 1 % of the examples, and its rank interval among all falls."""

    mean: float
    rank: tuple[int, int] | None


class Entry(NamedTuple):
    """A listed submission: public identity and unrounded numbers. Publish the numbers only through `entry_fields`.

    ``attempts`` and ``usable_attempts`` are None for an anonymous entry. ``average`` is the stored result of
    `app.leaderboard.averages.average`, None for a single file; with it, the numbers are those of the mean. ``fall`` belongs to
    the file of the submission ``id``, and is None unless `app.leaderboard.falls.add_falls` has found one.
    """

    identity: visibility.PublicIdentity
    attempts: int | None
    usable_attempts: int | None
    id: str
    created_at: datetime
    seconds: float | None
    rank_low: int | None
    rank_high: int | None
    in_family: bool | None
    separable_from_first: bool | None
    uses_subsets: bool
    lds: float
    std_error: float
    ci_low: float
    ci_high: float
    z_random: float
    p_random: float
    average: dict[str, Any] | None = None
    fall: Fall | None = None

    @property
    def replicate_ids(self) -> list[str]:
        """Submission ids of the replicates that the numbers are the mean of, sorted; the id of a single file."""
        return self.average["ids"] if self.average else [self.id]

    @property
    def replicates(self) -> int:
        """Number of replicates that the numbers are the mean of; 1 for a single file."""
        return len(self.replicate_ids)

    @property
    def spread(self) -> float | None:
        """Standard deviation of the LDS over replicates; None for a single file."""
        return self.average["spread"] if self.average else None

    @property
    def has_fitted_replicate(self) -> bool:
        """Whether the LDS of a replicate is higher than the runs allow; false for a single file."""
        return bool(self.average and self.average.get("fitted"))


class Listed(Protocol):
    """What decides the place of an entry in the list of entries; both `Entry` and `app.leaderboard.candidates.Sent` have it."""

    @property
    def uses_subsets(self) -> bool:
        """Whether the entry counts as fitted to the ranking subsets."""

    @property
    def lds(self) -> float:
        """LDS of the entry, not rounded."""

    @property
    def created_at(self) -> datetime:
        """When the submission was sent."""


AVERAGED = ("lds", "std_error", "ci_low", "ci_high", "z_random", "p_random")
"""Fields of an `Entry` that are means over replicates, or of one of the replicates."""


def can_be_listed(version: Version) -> tuple[ColumnElement[bool], ...]:
    """Return the SQL conditions under which a result may appear on the board of a version.

    The submission must be ranked, scored, not private and not suspended; the result must be on the ranking subsets and from the
    scorer version of the board. The conditions apply to a join of `Submission`, `Evaluation` and `Measurement`.
    """
    return _can_be_listed(version.id, version.scorer_version)


def _can_be_listed(
    version_id: int | BindParameter[int], scorer_version: int | BindParameter[int]
) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions of `can_be_listed`."""
    return (
        Evaluation.version_id == version_id,
        Evaluation.scorer_version == scorer_version,
        # An expression keeps SQLite from reading all rows by the primary key, instead of numbers from ix_measurement_numbers.
        Measurement.part.concat("") == "ranking",
        Submission.kind == Kind.RANKED,
        Submission.state == State.SCORED,
        Submission.visibility != Visibility.PRIVATE,
        Submission.suspension.is_(null()),
    )


ENTRIES = (
    select(
        # Of the rows with equal values in the first four columns, the one with the largest values in the next three is the entry.
        Submission.user_id,
        Submission.visibility,
        Submission.method,
        and_(Submission.uses_subsets, bindparam("can_be_fitted", type_=Boolean)),
        Submission.pinned,
        Submission.created_at,
        Submission.id,
        Submission.title,
        cast(Submission.tags, Text),  # as text: many tag lists are equal, and each text is parsed once
        User.name,
        Alias.number,
        cast(Evaluation.replicates, Text),  # as text: most are null
        Submission.cost["seconds"].as_float(),
        Evaluation.rank_low,
        Evaluation.rank_high,
        Evaluation.in_family,
        Evaluation.separable_from_first,
        Measurement.lds,
        Measurement.std_error,
        Measurement.ci_low,
        Measurement.ci_high,
        Measurement.z_random,
        Measurement.p_random,
    )
    .join(User, User.id == Submission.user_id)
    .join(Evaluation, Evaluation.submission_id == Submission.id)
    .join(Measurement, Measurement.evaluation_id == Evaluation.id)
    .outerjoin(Alias, and_(Alias.user_id == Submission.user_id, Alias.benchmark_id == bindparam("benchmark_id")))
    .where(*_can_be_listed(bindparam("version_id"), bindparam("scorer_version")), Evaluation.rank_low.is_not(None))
)
"""Query of `list_entries`. The query is built once, because building it takes as long as half of the reading."""


def comparable(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries of a board that are not declared as fitted to its ranking subsets, in the same order."""
    return [entry for entry in entries if not entry.uses_subsets]


def list_entries(session: Session, version: Version) -> list[Entry]:
    """Return the ranked entries of a version, best first.

    For each owner, method and visibility, the entry is the pinned submission, or the newest scored submission if none is pinned.
    Of each, submissions that are declared as fitted to the ranking subsets have an entry of their own. The numbers of an entry
    with replicates are the means over its replicates, as stored with its rank.

    A public submission never replaces an anonymous entry of the same owner, because the replacement would reveal the owner.
    Only submissions with a stored rank are listed. Entries with equal published LDS are ordered by time of submission. Entries
    that are declared as fitted to the ranking subsets follow all other entries.

    Pages sort and search all entries of a board. For speed, the query therefore reads only the columns that an `Entry` needs,
    creates no database objects, and runs on the connection, without the overhead of the ORM's session. `leaderboard_view` reads
    further columns for the rows that are shown.
    """
    values = {
        "version_id": version.id,
        "scorer_version": version.scorer_version,
        "benchmark_id": version.benchmark_id,
        "can_be_fitted": not has_hidden_subsets(version.manifest),
    }
    attempts = count_attempts(session, version)  # flushes pending changes
    newest: dict[tuple[Any, ...], Any] = {}
    for row in session.connection().execute(ENTRIES, values).all():
        key = row[:4]
        if (before := newest.get(key)) is None or before[4:7] < row[4:7]:
            newest[key] = row
    # Each user's numbers and each tag list are looked up once; boards have thousands of entries.
    made = {user_id: (number, attempts.usable(user_id)) for user_id, number in attempts.by_user.items()}
    parse, anonymous = cache(json.loads), Visibility.ANONYMOUS.value
    entries = []
    for (user_id, visible_to, method, fitted), row in newest.items():
        _, created_at, name, title, tags, owner, number, average, *rest = row[4:]
        if visible_to == anonymous:
            # The number of attempts is left out: a public entry with the same number would reveal the owner.
            identity = visibility.anonymous_identity(number)
            counts: tuple[int | None, int | None] = (None, None)
        else:
            identity = visibility.PublicIdentity(owner, method, title, "", parse(tags), {}, None, None)
            counts = made[user_id]
        seconds, low, high, in_family, separable, *numbers = rest
        entry = Entry(identity, *counts, name, created_at, seconds, low, high, in_family, separable, fitted, *numbers)
        if average is not None:
            mean = from_json(average)
            entry = entry._replace(average=mean, **{field: mean[field] for field in AVERAGED})
        entries.append(entry)
    split = version.manifest["split"]
    entries.sort(key=lambda entry: listing_key(entry, split, entry.id))
    if entries and entries[0].separable_from_first is not None:
        # Another entry was the first when the board was ranked.
        entries = [entry._replace(separable_from_first=None) for entry in entries]
    return entries


def listing_key(entry: Listed, split: str, submission_id: str) -> tuple[bool, float, datetime, str]:
    """Return the key by which entries are listed: the highest published LDS first, then the earliest submission.

    Entries that are declared as fitted to the ranking subsets follow all other entries.
    """
    return (entry.uses_subsets, -round_lds(entry.lds, split), entry.created_at, submission_id)


def find_listed_or_same(session: Session, submission: Submission) -> Submission:
    """Return `submission` if it is listed; otherwise the public entry of the same owner, benchmark and method.

    A submission with a result on the current version is listed if the current version lists it. If several versions have such an
    entry, the entry on the newest version is returned. An entry with the same declaration (``uses_subsets``) is preferred. If no
    version has such an entry, `submission` is returned.

    If `submission` is anonymous, private or practice, `submission` is always returned. For an anonymous submission, any other
    answer would reveal that two submissions have the same owner.
    """
    if submission.kind != Kind.RANKED or submission.visibility != Visibility.PUBLIC:
        return submission
    query = _public_entries(submission.version.benchmark, submission.user_id, submission.method)
    other_declaration = Submission.uses_subsets != submission.uses_subsets
    query = query.order_by(Submission.id != submission.id, other_declaration, Version.version.desc())
    return session.scalars(query.limit(1)).first() or submission


def find_public_entry(session: Session, benchmark: Benchmark, owner: str, method: str) -> Submission | None:
    """Return the public entry of a method of the user `owner`; None if no version of the benchmark has such an entry.

    If several versions have such an entry, the entry on the newest version is returned. On one version, an entry that is not
    declared as fitted to the ranking subsets is preferred. Anonymous entries are never found.
    """
    user_id = session.scalar(select(User.id).where(User.name == owner))
    if user_id is None:
        return None
    query = _public_entries(benchmark, user_id, method).order_by(Version.version.desc(), Submission.uses_subsets)
    return session.scalars(query.limit(1)).first()


def _public_entries(benchmark: Benchmark, user_id: int, method: str) -> Select[Submission]:
    """Return a query for the public entries of a user's method, on every version of a benchmark up to the current version.

    A submission with a result on the current version is found only if the current version lists the submission, because pages and
    badges show this result.
    """
    result, current = aliased(Evaluation), aliased(Version)
    has_current_result = exists().where(
        result.submission_id == Submission.id,
        result.scored_at.is_not(None),
        result.version_id == current.id,
        current.benchmark_id == benchmark.id,
        current.version == benchmark.current_version,
    )
    return (
        select(Submission)
        .join(Evaluation, Evaluation.submission_id == Submission.id)
        .join(Version, Version.id == Evaluation.version_id)
        .where(
            Submission.user_id == user_id,
            Submission.method == method,
            Submission.visibility == Visibility.PUBLIC,
            Submission.suspension.is_(null()),
            Version.benchmark_id == benchmark.id,
            Version.version <= benchmark.current_version,
            Evaluation.rank_low.is_not(None),
            or_(Version.version == benchmark.current_version, not_(has_current_result)),
        )
    )

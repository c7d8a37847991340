"""The submissions that may appear on a board, and the choice of its entries, with the means over their replicates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import literal, select

from app.db.models import Evaluation, Measurement, Submission
from app.leaderboard.averages import WholeMeasured, average, mean_lds
from app.leaderboard.entries import can_be_listed
from app.submissions import replicates as connections
from app.submissions.visibility import is_restricted

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Select
    from sqlalchemy.orm import Session

    from app.db.models import Version


class NewResult(NamedTuple):
    """A result on the ranking subsets that is not in the database yet.

    ``influence`` is psi of the M ranking subsets, and ``per_target`` is rho of the N targets, as bytes of little-endian float64.
    """

    submission: Submission
    evaluation_id: int
    lds: float
    std_error: float
    z_random: float
    p_random: float
    influence: bytes
    per_target: bytes


class Sent(NamedTuple):
    """The values of a submission that decide which submissions are entries, and in what order.

    Rows are sorted by their fields in this order. `owner` is a user id and a visibility. `series` holds the values of
    `app.submissions.replicates.series`. In the result of `find_candidates`, `lds` is the unrounded LDS of the submission. In
    `Board.entries`, `lds` is the mean over the replicates if the entry has replicates.
    """

    pinned: bool
    created_at: datetime
    submission_id: str
    owner: tuple[int, str]
    method: str
    evaluation_id: int
    lds: float
    uses_subsets: bool
    replicate_of: str | None
    rerun_key: str | None
    series: tuple[Any, ...]


class Board(NamedTuple):
    """The entries of a board, and the submissions that each entry is the mean of, by the submission id of the entry."""

    entries: list[Sent]
    replicates: dict[str, list[Sent]]


def find_candidates(session: Session, version: Version, new: NewResult | None) -> list[Sent]:
    """Return all submissions that may appear on a board, each with the LDS of its own file.

    The submission of the result `new` is included as if the result were saved, unless the submission is restricted.
    """
    columns = (Submission.pinned, Submission.created_at, Submission.id, Submission.user_id, Submission.visibility)
    method, fitted = Submission.method, connections.counts_as_fitted(version)
    joins = (Submission.replicate_of, Submission.rerun_key, *connections.series(version))
    query = listable(version, *columns, method, Evaluation.id, Measurement.lds, fitted, *joins)
    rows: list[tuple[Any, ...]] = [tuple(row) for row in session.execute(query)]
    if new is not None and not is_restricted(new.submission):
        result = (literal(new.evaluation_id), literal(new.lds))
        added = select(*columns, method, *result, fitted, *joins).where(Submission.id == new.submission.id)
        rows.append(tuple(session.execute(added).one()))
    first, place_of_series = len(columns), len(columns) + 6
    return [Sent._make((*row[:3], row[3:first], *row[first:place_of_series], row[place_of_series:])) for row in rows]


def select_entries(candidates: list[Sent], split: str) -> Board:
    """Return the entries of a board, whose LDS are means over replicates, and the replicates of each entry."""
    # Of the rows with equal keys, the last is the entry: rows are sorted by pinned, then by time.
    keyed = {(entry.owner, entry.method, entry.uses_subsets): entry for entry in sorted(candidates)}
    entries = list(keyed.values())
    by_id = {sent.submission_id: sent for sent in candidates}
    groups = connections.group(
        connections.Sent(sent.submission_id, sent.series, sent.replicate_of, sent.rerun_key) for sent in candidates
    )
    replicates = {
        entry.submission_id: [by_id[name] for name in sorted(groups[entry.submission_id])] for entry in entries
    }
    averaged = [
        entry._replace(lds=mean_lds([sent.lds for sent in replicates[entry.submission_id]], split)[0])
        for entry in entries
    ]
    return Board(averaged, replicates)


def find_averages(
    session: Session, version: Version, new: NewResult | None, replicates: dict[str, list[Sent]]
) -> dict[str, dict[str, Any]]:
    """Return the result of `average` for each entry with at least two replicates, by the submission id of the entry."""
    several = {name: sent for name, sent in replicates.items() if len(sent) > 1}
    ids = [sent.evaluation_id for group in several.values() for sent in group]
    columns = (
        Measurement.lds,
        Measurement.std_error,
        Measurement.influence,
        Measurement.per_target,
        Measurement.z_random,
        Measurement.p_random,
    )
    # By the primary key: the candidates are known to be listable, and SQLite would read the rows of all submissions to test it.
    of_ids = (Measurement.evaluation_id.in_(ids), Measurement.part == "ranking")
    query = select(Measurement.evaluation_id.label("id"), *columns).where(*of_ids)
    measured: dict[int, WholeMeasured | Any] = {row.id: row for row in session.execute(query)} if ids else {}
    if new is not None:
        measured[new.evaluation_id] = new
    return {
        name: average({each.submission_id: measured[each.evaluation_id] for each in sent}, version.manifest)
        for name, sent in several.items()
    }


def listable(version: Version, *columns: Any) -> Select[Any]:
    """Return a query for `columns` of all results that may appear on the board of a version, see `can_be_listed`."""
    query = select(*columns).join(Evaluation, Evaluation.submission_id == Submission.id)
    return (
        query.select_from(Submission)
        .join(Measurement, Measurement.evaluation_id == Evaluation.id)
        .where(*can_be_listed(version))
    )

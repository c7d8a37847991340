"""Rank intervals of the entries of a leaderboard.

Ranking a board compares every pair of entries, which takes seconds for thousands of entries. A server therefore ranks without
holding the write lock, in three steps:

1. The transaction that changes a board raises the revision of the board (`note_change`).
2. The ranks for this revision are computed without the write lock (`compute_ranks`).
3. A short transaction stores the ranks and the revision for which they were computed (`store_ranks`).

Until step 3, the board shows the earlier entries and ranks. Entries that are made private, suspended or withdrawn
disappear at once.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sqlalchemy import select, update

from app.db.models import Evaluation, Measurement, Submission, Version
from app.leaderboard.entries import can_be_listed
from app.submissions.visibility import is_restricted
from ldsboard.core.comparison import rank_intervals

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Select
    from sqlalchemy.orm import Session

    from app.db.sessions import Database


class NewResult(NamedTuple):
    """A result on the ranking subsets that is not in the database yet."""

    submission: Submission
    evaluation_id: int
    lds: float
    influence: bytes
    """psi of the M ranking subsets, as the bytes of an array of little-endian float64."""


class Ranks(NamedTuple):
    """The rank interval of every entry of a version, by evaluation id, at one revision of the version's board."""

    revision: int
    intervals: dict[int, tuple[int, int]]


def compute_ranks(session: Session, version: Version, new: NewResult | None = None) -> Ranks:
    """Return the rank intervals of a version's entries; a new result is ranked as if it were saved.

    Ranks depend on the set of entries alone. If the stored ranks belong to the same entries, the stored ranks are returned.
    """
    precedence = (Submission.pinned, Submission.created_at, Submission.id)
    columns = (*precedence, Submission.user_id, Submission.method, Submission.visibility)
    candidates = [tuple(row) for row in session.execute(_rows(version, *columns, Evaluation.id, Measurement.lds))]
    if new is not None and not is_restricted(new.submission):
        known = (getattr(new.submission, column.key) for column in columns)
        candidates.append((*known, new.evaluation_id, new.lds))
    # For each owner, method and visibility, the last row is the entry: rows are sorted by pinned, then by time.
    entries = {tuple(key): (evaluation_id, lds) for _, _, _, *key, evaluation_id, lds in sorted(candidates)}
    ids = [evaluation_id for evaluation_id, _ in entries.values()]
    stored = _rows(version, Evaluation.id, Evaluation.rank_low, Evaluation.rank_high)
    found = session.execute(stored.where(Evaluation.rank_low.is_not(None)))
    intervals = {evaluation_id: (low, high) for evaluation_id, low, high in found}
    # The highest rank of the last entry was the number of entries, so it reveals that another entry has gone meanwhile.
    ranked_entries = max((high for _, high in intervals.values()), default=0)
    if intervals.keys() != set(ids) or ranked_entries != len(ids):
        influences = dict(session.execute(_rows(version, Evaluation.id, Measurement.influence)).all())
        if new is not None:
            influences[new.evaluation_id] = new.influence
        influence_kM = np.array([np.frombuffer(influences[evaluation_id], dtype="<f8") for evaluation_id in ids])
        intervals = dict(zip(ids, rank_intervals([lds for _, lds in entries.values()], influence_kM), strict=True))
    return Ranks(version.board_revision, intervals)


def _rows(version: Version, *columns: Any) -> Select[Any]:
    """Return a query for `columns` of all results that may appear on the board of a version, see `can_be_listed`."""
    query = select(*columns).join(Evaluation, Evaluation.submission_id == Submission.id)
    return (
        query.select_from(Submission)
        .join(Measurement, Measurement.evaluation_id == Evaluation.id)
        .where(*can_be_listed(version))
    )


def store_ranks(session: Session, version: Version, ranks: Ranks) -> None:
    """Store the rank intervals of all entries of a version; delete the rank intervals of evaluations that are no entries."""
    stored = select(Evaluation.id, Evaluation.rank_low, Evaluation.rank_high).where(Evaluation.version_id == version.id)
    changed = []
    for evaluation_id, *before in session.execute(stored):
        low, high = ranks.intervals.get(evaluation_id, (None, None))
        if before != [low, high]:
            changed.append({"id": evaluation_id, "rank_low": low, "rank_high": high})
    if changed:
        session.execute(update(Evaluation), changed)
    version.ranked_revision = ranks.revision


def update_ranks(session: Session, version: Version) -> None:
    """Rank the entries of a version, and store the ranks in the open transaction.

    Use this function only for rare changes, such as a new version: the transaction holds the write lock during the ranking,
    which can take seconds.
    """
    note_change(session, version)
    store_ranks(session, version, compute_ranks(session, version))


def is_ranked(session: Session, version: Version) -> bool:
    """Return whether every entry of a version has a rank that belongs to the present revision of the board."""
    keys = _rows(version, Submission.user_id, Submission.method, Submission.visibility).distinct()
    ranked = set(session.execute(keys.where(Evaluation.rank_low.is_not(None))))
    return version.ranked_revision == version.board_revision and set(session.execute(keys)) == ranked


def note_change(session: Session, version: Version) -> None:
    """Raise a board's revision after a change that can affect entries.

    The board is not ranked here. The caller must call `Ranker.renew` after the commit, or store new ranks before the commit.
    """
    version.board_revision += 1
    session.flush()


class Ranker:
    """Ranks the boards of one server after changes. Simultaneous calls for one board rank the board only once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._locks: defaultdict[int, threading.Lock] = defaultdict(threading.Lock)

    def renew(self, version_ids: Iterable[int]) -> None:
        """Rank the boards of these versions and store the ranks; boards without changes since the last ranking are left out."""
        for version_id in version_ids:
            with self._locks[version_id]:
                with self._database.read() as session:
                    version = session.get_one(Version, version_id)
                    if version.ranked_revision >= version.board_revision:
                        continue
                    ranks = compute_ranks(session, version)
                with self._database.write() as session:
                    store_ranks(session, session.get_one(Version, version_id), ranks)

    def renew_all(self) -> None:
        """Rank all boards that have changed since the last ranking.

        A board can be left with outdated ranks, for example if the server is killed after a change and before the ranking.
        """
        with self._database.read() as session:
            query = select(Version.id).where(Version.ranked_revision < Version.board_revision)
            outdated = session.scalars(query).all()
        self.renew(outdated)

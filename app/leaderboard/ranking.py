"""Rank intervals of the entries of a leaderboard.

Ranking a board compares every pair of its entries, which takes seconds for thousands of entries. A server therefore ranks without
holding the write lock: a change of a board raises its revision, and the ranks that were computed for a revision are stored in a
second, short transaction. Until then the board shows its earlier entries and ranks, except entries that may no longer be shown.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sqlalchemy import select

from app.db.models import Evaluation, Measurement, Submission, Version, Visibility
from app.leaderboard.entries import can_be_listed
from ldsboard.core.comparison import rank_intervals

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from numpy.typing import NDArray
    from sqlalchemy.orm import Session

    from app.db.sessions import Database


class Candidate(NamedTuple):
    """A scored submission that may be listed. Of each owner, method and visibility, the greatest candidate is the entry."""

    pinned: bool
    created_at: datetime
    submission_id: str
    evaluation_id: int
    lds: float
    influence_M: NDArray[np.float64]


class Ranks(NamedTuple):
    """The rank interval of every entry of a version, by evaluation id, at one revision of its board."""

    revision: int
    intervals: dict[int, tuple[int, int]]


def compute_ranks(session: Session, version: Version, new: tuple[Submission, Candidate] | None = None) -> Ranks:
    """Compute the rank intervals of a version's entries; `new` is a submission whose result is not in the database yet."""
    entries: dict[tuple[int, str, str], Candidate] = {}

    def add(key: tuple[int, str, str], candidate: Candidate) -> None:
        entries[key] = max(entries.get(key, candidate), candidate, key=lambda one: one[:3])

    columns = (Submission.pinned, Submission.created_at, Submission.id, Evaluation.id, Measurement.lds)
    query = (
        select(Submission.user_id, Submission.method, Submission.visibility, Measurement.influence, *columns)
        .join(Evaluation, Evaluation.submission_id == Submission.id)
        .join(Measurement, Measurement.evaluation_id == Evaluation.id)
        .where(*can_be_listed(version))
    )
    for (
        user_id,
        method,
        visibility,
        influence,
        pinned,
        created_at,
        submission_id,
        evaluation_id,
        lds,
    ) in session.execute(query):
        influence_M = np.frombuffer(influence, dtype="<f8")
        add(
            (user_id, method, visibility), Candidate(pinned, created_at, submission_id, evaluation_id, lds, influence_M)
        )
    if new is not None and new[0].visibility != Visibility.PRIVATE:
        add((new[0].user_id, new[0].method, new[0].visibility), new[1])
    if not entries:
        return Ranks(version.board_revision, {})
    influence_kM = np.stack([entry.influence_M for entry in entries.values()])
    intervals = rank_intervals([entry.lds for entry in entries.values()], influence_kM)
    ids = [entry.evaluation_id for entry in entries.values()]
    return Ranks(version.board_revision, dict(zip(ids, intervals, strict=True)))


def store_ranks(session: Session, version: Version, ranks: Ranks) -> None:
    """Store the rank intervals of all entries of a version; evaluations that are no entries lose theirs."""
    for evaluation in session.scalars(select(Evaluation).where(Evaluation.version_id == version.id)):
        evaluation.rank_low, evaluation.rank_high = ranks.intervals.get(evaluation.id, (None, None))
    version.ranked_revision = ranks.revision


def update_ranks(session: Session, version: Version) -> None:
    """Rank a version's entries within the transaction of a change, for changes that are rare."""
    note_change(session, version)
    store_ranks(session, version, compute_ranks(session, version))


def is_ranked(session: Session, version: Version) -> bool:
    """Return whether every entry of a version has a rank that belongs to the present revision of the board."""
    keys = select(Submission.user_id, Submission.method, Submission.visibility)
    keys = keys.join(Evaluation, Evaluation.submission_id == Submission.id)
    keys = keys.join(Measurement, Measurement.evaluation_id == Evaluation.id).where(*can_be_listed(version)).distinct()
    ranked = keys.where(Evaluation.rank_low.is_not(None))
    return version.ranked_revision == version.board_revision and set(session.execute(keys)) == set(
        session.execute(ranked)
    )


def note_change(session: Session, version: Version) -> None:
    """Raise the revision of a board whose entries may have changed; `Ranker.renew` must follow the commit."""
    version.board_revision += 1
    session.flush()


class Ranker:
    """Ranks boards of one server after changes. Simultaneous calls for a board share a computation."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._locks: defaultdict[int, threading.Lock] = defaultdict(threading.Lock)

    def renew(self, version_ids: Iterable[int]) -> None:
        """Rank each board, unless it was ranked since its last change."""
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
        """Rank every board that was not ranked since its last change, for instance because the server was killed."""
        with self._database.read() as session:
            query = select(Version.id).where(Version.ranked_revision < Version.board_revision)
            outdated = session.scalars(query).all()
        self.renew(outdated)

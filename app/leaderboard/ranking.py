"""Ranks of the entries of a leaderboard.

Ranking a board compares every pair of entries, which takes seconds for thousands of entries. A server therefore ranks without
holding the write lock, in three steps:

1. The transaction that changes a board raises the revision of the board (`note_change`).
2. The ranks for this revision are computed without the write lock (`compute_ranks`).
3. A short transaction stores the ranks and the revision for which they were computed (`store_ranks`).

Several servers and workers can do so at the same time: ranks are stored only if no later revision was ranked meanwhile.

Until step 3, the board shows the earlier entries and ranks. Entries that are made private, suspended or withdrawn
disappear at once.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import structlog
from sqlalchemy import func, select, update

from app.db.models import Evaluation, Measurement, Submission, Version
from app.leaderboard.averages import mean_of
from app.leaderboard.candidates import (
    Board,
    NewResult,
    Sent,
    find_averages,
    find_candidates,
    listable,
    select_entries,
)
from app.leaderboard.entries import listing_key
from app.submissions.replicates import counts_as_fitted
from ldsboard.core.board import rank_board

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.orm import Session

    from app.db.sessions import Database


log = structlog.get_logger()

QUICK_ENTRIES = 1000
"""Largest number of entries of a board on which a new result is saved together with its ranks, which take a fraction of a second.
On a larger board, a result is saved at once and listed seconds later, so that a burst of results is ranked only once."""

FAMILY_PER_OWNER = 5
"""Ranks count at most this many public entries of one owner, and at most this many anonymous entries: the newest of each."""


class Place(NamedTuple):
    """The place of an entry on its board, as the columns of `Evaluation` with these names.

    All fields are None for an evaluation that is no entry.
    """

    rank_low: int | None = None
    rank_high: int | None = None
    in_family: bool | None = None
    separable_from_first: bool | None = None
    replicates: dict[str, Any] | None = None


PLACE = tuple(getattr(Evaluation, name) for name in Place._fields)


class Ranks(NamedTuple):
    """The place of every entry of a version, by evaluation id, at one revision of the version's board."""

    revision: int
    places: dict[int, Place]


def compute_ranks(session: Session, version: Version, new: NewResult | None = None) -> Ranks:
    """Return the ranks of a version's entries, and store nothing; the result `new` is ranked as if the result were saved.

    Ranks depend on the set of entries alone. If the stored ranks belong to the same entries, the stored ranks are returned.

    Entries that are declared as fitted to the ranking subsets are outside the family and never the first entry. Their places are
    stored only because an entry is listed if it has a place; no answer of the server shows these places.
    """
    split = version.manifest["split"]
    entries, replicates = select_entries(find_candidates(session, version, new), split)
    if not entries:
        return Ranks(version.board_revision, {})
    family = _family(entries)
    first = min(entries, key=lambda entry: listing_key(entry, split, entry.submission_id))
    found = session.execute(listable(version, Evaluation.id, *PLACE).where(Evaluation.rank_low.is_not(None)))
    places = {evaluation_id: Place(*place) for evaluation_id, *place in found}
    if not _belong_to(places, Board(entries, replicates), family, first):
        influences: dict[int, Any] = {
            row.id: row
            for row in session.execute(listable(version, Evaluation.id, Measurement.lds, Measurement.influence))
        }
        if new is not None:
            influences[new.evaluation_id] = new
        means = [
            mean_of([influences[sent.evaluation_id] for sent in replicates[entry.submission_id]], split)
            for entry in entries
        ]
        standings = rank_board(
            [mean.lds for mean in means],
            np.array([mean.influence_M for mean in means]),
            np.array([entry.evaluation_id in family for entry in entries]),
            entries.index(first),
            [mean.reruns for mean in means],
        )
        averages = find_averages(session, version, new, replicates)
        places = {
            entry.evaluation_id: Place(
                low, high, entry.evaluation_id in family, separable, averages.get(entry.submission_id)
            )
            for entry, (low, high, separable) in zip(entries, standings, strict=True)
        }
    return Ranks(version.board_revision, places)


def _family(entries: Iterable[Sent]) -> set[int]:
    """Return the evaluation ids of the entries that ranks count: of each owner the newest, at most `FAMILY_PER_OWNER`.

    Entries that are declared as fitted to the ranking subsets are left out.

    Results play no part in this choice, so that the choice does not bias the tests. Public and anonymous entries of one owner are
    counted apart: otherwise a change of the public entries could change the ranks of the anonymous entries, and reveal the owner.
    """
    of_owner = defaultdict(list)
    for entry in sorted(entries, key=lambda entry: (entry.created_at, entry.submission_id), reverse=True):
        if not entry.uses_subsets:
            of_owner[entry.owner].append(entry.evaluation_id)
    return {evaluation_id for newest in of_owner.values() for evaluation_id in newest[:FAMILY_PER_OWNER]}


def _belong_to(places: dict[int, Place], board: Board, family: set[int], first: Sent) -> bool:
    """Return whether stored places belong to these entries with these replicates, this family and this first entry."""
    entries, replicates = board
    averaged = {
        entry.evaluation_id: ids
        for entry in entries
        if len(ids := [sent.submission_id for sent in replicates[entry.submission_id]]) > 1
    }
    counted = [place.rank_high or 0 for place in places.values() if place.in_family]
    return (
        places.keys() == {entry.evaluation_id for entry in entries}
        and {evaluation_id for evaluation_id, place in places.items() if place.in_family} == family
        and {number: place.replicates["ids"] for number, place in places.items() if place.replicates} == averaged
        # The highest rank of the last entry was the size of the family, so it reveals that another entry has gone meanwhile.
        and max(counted, default=0) == len(family)
        and places[first.evaluation_id].separable_from_first is None
    )


def store_ranks(session: Session, version: Version, ranks: Ranks) -> None:
    """Store the places of all entries of a version, and the revision of the ranks; delete the places of all other evaluations.

    Nothing is stored if another process has stored the ranks of a later revision meanwhile. The caller commits.
    """
    if ranks.revision < version.ranked_revision:
        return
    stored = select(Evaluation.id, *PLACE).where(Evaluation.version_id == version.id)
    changed = []
    for evaluation_id, *before in session.execute(stored):
        place = ranks.places.get(evaluation_id, Place())
        if before != list(place):
            changed.append({"id": evaluation_id, **place._asdict()})
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
    fitted = counts_as_fitted(version)
    keys = listable(version, Submission.user_id, Submission.method, Submission.visibility, fitted).distinct()
    ranked = set(session.execute(keys.where(Evaluation.rank_low.is_not(None))))
    return version.ranked_revision == version.board_revision and set(session.execute(keys)) == ranked


def note_change(session: Session, version: Version) -> None:
    """Raise a board's revision after a change that can affect entries.

    The board is not ranked here. The caller must call `Ranker.renew` after the commit, or store new ranks before the commit.
    """
    version.board_revision += 1
    session.flush()


def preload_imports() -> None:
    """Rank a board of two random entries, so that modules that are imported on first use are loaded before the first result."""
    rank_board([0.0, 0.0], np.random.default_rng(0).normal(size=(2, 10)), np.ones(2, np.bool_), 0)


class Ranker:
    """Ranks the boards of one process after changes. Simultaneous calls for one board rank the board only once.

    The processes that share a database rank a board one after another too, and only if it has changed since.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._locks: defaultdict[int, threading.Lock] = defaultdict(threading.Lock)
        self._lock = threading.Lock()
        self._waiting: set[int] = set()
        self._thread: threading.Thread | None = None

    def is_quick(self, session: Session, version: Version) -> bool:
        """Return whether a board is so small that each result can wait for its ranks."""
        ranked = select(func.count()).where(Evaluation.version_id == version.id, Evaluation.rank_low.is_not(None))
        return (session.scalar(ranked) or 0) <= QUICK_ENTRIES

    def renew(self, version_ids: Iterable[int]) -> None:
        """Rank the boards of these versions and store the ranks; boards without changes since the last ranking are left out.

        The method opens and commits its own transactions, so the caller must not hold the write lock.
        """
        for version_id in version_ids:
            with self._locks[version_id]:
                if self._is_outdated(version_id):
                    with self._database.ranking(version_id):
                        self._renew(version_id)

    def _is_outdated(self, version_id: int) -> bool:
        with self._database.read() as session:
            version = session.get_one(Version, version_id)
            return version.ranked_revision < version.board_revision

    def _renew(self, version_id: int) -> None:
        with self._database.read() as session:
            version = session.get_one(Version, version_id)
            if version.ranked_revision >= version.board_revision:
                return  # another process has ranked the board, while this process waited
            ranks = compute_ranks(session, version)
        with self._database.write() as session:
            store_ranks(session, session.get_one(Version, version_id), ranks)

    def renew_later(self, version_id: int) -> None:
        """Have a thread rank a board, and return at once. All changes until the thread begins with the board share a ranking."""
        with self._lock:
            self._waiting.add(version_id)
            if self._thread is None:
                self._thread = threading.Thread(target=self._renew_waiting, name="ranking", daemon=True)
                self._thread.start()

    def _renew_waiting(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return
                version_id = self._waiting.pop()
            try:
                self.renew([version_id])
            except Exception:  # the server that leads ranks outdated boards every few seconds
                log.exception("ranking.crashed", version=version_id)

    def renew_all(self) -> None:
        """Rank all boards that have changed since the last ranking.

        A board can be left with outdated ranks, for example if the server is killed after a change and before the ranking.
        """
        with self._database.read() as session:
            query = select(Version.id).where(Version.ranked_revision < Version.board_revision)
            outdated = session.scalars(query).all()
        self.renew(outdated)

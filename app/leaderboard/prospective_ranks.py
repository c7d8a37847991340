"""The rank that a result would have on a board that does not list the result."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sqlalchemy import select

from app.db.models import Evaluation, Measurement, Submission
from app.leaderboard.entries import can_be_listed, listing_key
from ldsboard.core.board import rank_board

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

MAX_KEPT = 1000
"""Number of ranks that are kept; the ranks that were not used for longest are dropped first."""


class _Key(NamedTuple):
    """What a prospective rank depends on. SQLite reuses row ids, so the submission is part of the key."""

    submission_id: str
    evaluation_id: int
    board_revision: int
    ranked_revision: int


class ProspectiveRanks:
    """Computes prospective ranks, and keeps each rank until its board changes. All methods are thread-safe.

    A rank is computed in one thread at a time, because each computation compares all entries of a board.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[_Key, tuple[int, int] | None] = OrderedDict()

    def rank(self, session: Session, evaluation: Evaluation) -> tuple[int, int] | None:
        """Return `prospective_rank` of a finished evaluation."""
        version = evaluation.version
        key = _Key(evaluation.submission_id, evaluation.id, version.board_revision, version.ranked_revision)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = prospective_rank(session, evaluation)
                if len(self._kept) > MAX_KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]


def prospective_rank(session: Session, evaluation: Evaluation) -> tuple[int, int] | None:
    """Return the rank interval that a result would have if it alone joined the entries that the board lists now.

    The entries of the same owner and method stay on the board, and the result replaces none of them: otherwise, the rank would
    reveal which entries belong to the owner of the result.

    Parameters
    ----------
    evaluation
        A finished evaluation. Whether its submission is listed, public or private plays no part.

    Returns
    -------
    tuple of int, or None
        The lowest and highest rank. None if the result has no numbers on the ranking subsets, or if another scorer version than
        that of the board computed the result.
    """
    version = evaluation.version
    columns = (Measurement.lds, Measurement.influence)
    own = session.execute(
        select(*columns).where(Measurement.evaluation_id == evaluation.id, Measurement.part == "ranking")
    ).first()
    if own is None or evaluation.scorer_version != version.scorer_version:
        return None
    query = select(Submission.created_at, Submission.id, Evaluation.in_family, *columns).select_from(Submission)
    query = query.join(Evaluation, Evaluation.submission_id == Submission.id)
    query = query.join(Measurement, Measurement.evaluation_id == Evaluation.id)
    listed = (*can_be_listed(version), Evaluation.rank_low.is_not(None), Evaluation.id != evaluation.id)
    entries = session.execute(query.where(*listed)).all()
    if not entries:
        return (1, 1)
    split = version.manifest["split"]
    keys = [listing_key(entry.lds, split, entry.created_at, entry.id) for entry in entries]
    influences = (entry.influence for entry in (*entries, own))
    standings = rank_board(
        [*(entry.lds for entry in entries), own.lds],
        np.array([np.frombuffer(influence, dtype="<f8") for influence in influences]),
        np.array([*(bool(entry.in_family) for entry in entries), False]),
        keys.index(min(keys)),
    )
    return standings[-1].rank_low, standings[-1].rank_high

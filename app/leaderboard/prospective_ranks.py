"""The rank that a result would have on a board that does not list the result."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sqlalchemy import select

from app.db.models import Evaluation, Measurement, Submission
from app.leaderboard.averages import mean_of
from app.leaderboard.candidates import listable
from app.submissions.replicates import is_declared_fitted
from ldsboard.core.board import rank_board

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from app.db.models import Version
    from app.leaderboard.averages import Mean

MAX_KEPT = 1000
"""Maximum number of cached ranks; the least recently used rank is dropped first."""


class _Key(NamedTuple):
    """What a prospective rank depends on. SQLite reuses row ids, so the submissions are part of the key."""

    replicates: frozenset[tuple[str, int]]
    """Submission id and evaluation id of each replicate."""
    uses_subsets: bool
    board_revision: int
    ranked_revision: int


class ProspectiveRanks:
    """Computes prospective ranks and caches them; a rank is computed again after its board has changed. Thread-safe.

    All calls share one lock: while one thread computes a rank, other threads wait, also for cached ranks. A computation
    compares the result with all entries of the board.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[_Key, tuple[int, int] | None] = OrderedDict()

    def rank(self, session: Session, replicates: Sequence[Evaluation]) -> tuple[int, int] | None:
        """Return the result of `prospective_rank` for finished evaluations, from the cache if possible."""
        version = replicates[0].version
        key = _Key(
            frozenset((evaluation.submission_id, evaluation.id) for evaluation in replicates),
            is_declared_fitted(replicates[0].submission, version),
            version.board_revision,
            version.ranked_revision,
        )
        with self._lock:
            if key not in self._kept:
                self._kept[key] = prospective_rank(session, replicates)
                if len(self._kept) > MAX_KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]


def prospective_rank(session: Session, replicates: Sequence[Evaluation]) -> tuple[int, int] | None:
    """Return the rank interval that a result would have if it alone joined the entries that the board lists now.

    If the board lists one of the given evaluations as an entry, this entry is left out. All other entries of the same owner and
    method stay on the board, and the result replaces none of them: otherwise, the rank would reveal which entries belong to the
    owner of the result.

    Parameters
    ----------
    replicates
        Finished evaluations against one version, whose mean is the result: those of a submission and its replicates, or of a
        single file. The visibility of the submissions plays no part.

    Returns
    -------
    tuple of int, or None
        The lowest and highest rank. None if the result has no numbers on the ranking subsets, if another scorer version than that
        of the board computed the result, or if the method is declared as fitted to the ranking subsets.
    """
    first = replicates[0]
    version, split = first.version, first.version.manifest["split"]
    if first.scorer_version != version.scorer_version or is_declared_fitted(first.submission, version):
        return None
    own = [evaluation.id for evaluation in replicates]
    measured = session.execute(
        select(Measurement.lds, Measurement.influence)
        .where(Measurement.evaluation_id.in_(own), Measurement.part == "ranking")
        .order_by(Measurement.evaluation_id)
    ).all()
    if not measured:
        return None
    means = [*_family_means(session, version, own), mean_of(measured, split)]
    standings = rank_board(
        [mean.lds for mean in means],
        np.array([mean.influence_M for mean in means]),
        np.arange(len(means)) < len(means) - 1,
        first=0,  # no rank depends on which entry is the first
        reruns=[mean.reruns for mean in means],
    )
    return standings[-1].rank_low, standings[-1].rank_high


def _family_means(session: Session, version: Version, without: Sequence[int]) -> list[Mean]:
    """Return the results of the entries that ranks count, each the mean over the replicates that were stored with the rank.

    Entries whose evaluation id is in `without` are left out.
    """
    family = listable(version, Submission.id, Evaluation.replicates)
    family = family.where(Evaluation.in_family.is_(True), Evaluation.id.not_in(without)).order_by(Evaluation.id)
    members = [average["ids"] if average else [name] for name, average in session.execute(family)]
    query = listable(version, Submission.id, Measurement.lds, Measurement.influence)
    query = query.where(Submission.id.in_([name for ids in members for name in ids]))
    measured = {row.id: row for row in session.execute(query)}
    split = version.manifest["split"]
    return [mean_of([measured[name] for name in ids if name in measured], split) for ids in members]

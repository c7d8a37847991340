"""Rank intervals of the entries of a leaderboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import select

from app.db.models import Evaluation, Measurement, Version
from app.leaderboard.entries import list_entries
from ldsboard.core.comparison import rank_intervals

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def update_ranks(session: Session, version: Version) -> None:
    """Recompute the rank intervals of all listed entries of a version, and store them in their evaluations."""
    evaluations = session.scalars(select(Evaluation).where(Evaluation.version_id == version.id)).all()
    for evaluation in evaluations:
        evaluation.rank_low = evaluation.rank_high = None
    entries = list_entries(session, version)
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

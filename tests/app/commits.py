"""Scored submissions of a method over commits, inserted into a database without files and without scoring."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import select

from app.accounts import users
from app.db.accounts import User
from app.db.base import now
from app.db.models import Evaluation, Kind, Measurement, State, Submission, Visibility
from app.db.uploads import Provenance
from app.submissions.replicates import rerun_key
from app.submissions.visibility import set_visibility

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

    from app.db.models import Version

TARGETS = 7
"""Number of targets of the toy benchmark."""

START = now() - timedelta(days=9)


def hours(number: float) -> datetime:
    """Return the time some hours after `START`."""
    return START + timedelta(hours=number)


def add_commit(
    session: Session,
    version: Version,
    lds: float,
    *,
    hour: float,
    owner: str = "ada",
    method: str = "trak",
    kind: Kind = Kind.PRACTICE,
    visibility: Visibility = Visibility.PUBLIC,
    spread: float = 0.001,
    seed: int = 0,
    origins: tuple[dict[str, Any], ...] = (),
    **columns: Any,
) -> str:
    """Add a scored submission with provenances that are an hour apart; return its id.

    Parameters
    ----------
    lds
        LDS on the public subsets; on the ranking subsets, the LDS is 0.1 higher.
    spread
        Standard deviation of psi.
    """
    rng = np.random.default_rng(seed)
    user = session.scalar(select(User).where(User.name == owner)) or users.add_user(session, owner)
    submission = Submission(
        user_id=user.id,
        version_id=version.id,
        kind=kind,
        method=method,
        size=1,
        rerun_key=rerun_key(user.id, origins[0].get("commit") if origins else None),
        **{"title": method, "state": State.SCORED, "created_at": hours(hour)} | columns,
    )
    session.add(submission)
    session.flush()
    set_visibility(session, submission, visibility)
    for place, origin in enumerate(origins):
        session.add(Provenance(submission_id=submission.id, at=hours(hour + place), **origin))
    evaluation = Evaluation(
        submission_id=submission.id, version_id=version.id, scorer_version=version.scorer_version, scored_at=now()
    )
    parts = {"public": lds} if kind is Kind.PRACTICE else {"public": lds, "ranking": lds + 0.1}
    for part, value in parts.items():
        M = version.manifest["subsets"][part]
        influence_M = rng.normal(scale=spread, size=M)
        evaluation.measurements.append(_measurement(part, value, influence_M - influence_M.mean()))
    session.add(evaluation)
    session.flush()
    return submission.id


def _measurement(part: str, lds: float, influence_M: np.ndarray[Any, Any]) -> Measurement:
    M = influence_M.size
    error = float(np.sqrt(np.square(influence_M).sum() / (M * (M - 1))))
    return Measurement(
        part=part,
        lds=lds,
        std_error=error,
        ci_low=lds - 2 * error,
        ci_high=lds + 2 * error,
        mean_p=0.01,
        z_random=lds / 0.003,
        p_random=math.erfc(abs(lds / 0.003) / math.sqrt(2)),
        constant_predictions=0,
        grid_loss=0.0,
        warnings=[],
        influence=influence_M.astype("<f8").tobytes(),
        per_target=np.zeros(TARGETS).tobytes(),
    )

"""What the operator sees of the counterfactual evaluations: which run, were interrupted or are impossible."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import case, func, select

from app.db.accounts import User
from app.db.counterfactuals import Counterfactual
from app.db.models import Benchmark, Submission, Version
from ldsboard.counterfactual.plan import CODE_VERSION

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

STATES = ("running", "interrupted", "impossible", "done")
"""States of evaluations that have begun; those that are interrupted were stopped, or failed and are tried again."""

MAX_SHOWN = 100
"""Maximum number of evaluations that `without_result` returns."""

STATE = case(
    (Counterfactual.reason.is_not(None), "impossible"),
    (Counterfactual.ended_at.is_not(None), "done"),
    (Counterfactual.claimed_at.is_not(None), "running"),
    else_="interrupted",
)


class Retraining(NamedTuple):
    """An evaluation without a result; `worker`, `since` and `percent` are None unless it runs."""

    submission_id: str
    method: str
    owner: str
    benchmark: str
    version: int
    state: str
    worker: str | None
    since: datetime | None
    percent: int | None
    failures: int
    reason: str | None


def counts(session: Session) -> dict[str, int]:
    """Return the number of evaluations by state in `STATES`."""
    query = select(STATE.label("state"), func.count()).where(Counterfactual.code == CODE_VERSION).group_by("state")
    return dict.fromkeys(STATES, 0) | dict(session.execute(query).all())


def without_result(session: Session) -> list[Retraining]:
    """Return the evaluations without a result, those that run first."""
    columns = (
        Submission.id,
        Submission.method,
        User.name,
        Benchmark.name,
        Version.version,
        STATE,
        Counterfactual.worker,
        Counterfactual.claimed_at,
        Counterfactual.percent,
        Counterfactual.failures,
        Counterfactual.reason,
    )
    query = select(*columns).select_from(Counterfactual)
    query = query.join(Submission, Submission.id == Counterfactual.submission_id).join(
        User, User.id == Submission.user_id
    )
    query = query.join(Version, Version.id == Counterfactual.version_id)
    query = query.join(Benchmark, Benchmark.id == Version.benchmark_id)
    query = query.where(Counterfactual.code == CODE_VERSION, Counterfactual.numbers.is_(None))
    order = (Counterfactual.claimed_at.is_(None), Counterfactual.id.desc())
    return [Retraining(*row) for row in session.execute(query.order_by(*order).limit(MAX_SHOWN))]

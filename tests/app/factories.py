"""Realistic leaderboard entries, written directly into a database without scoring."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from app.accounts import users
from app.db.base import now
from app.db.models import Evaluation, Kind, Measurement, State, Submission, Visibility
from app.db.uploads import Provenance
from app.leaderboard.ranking import update_ranks
from app.submissions import visibility
from ldsboard.core import result

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sqlalchemy.orm import Session

    from app.db.accounts import User
    from app.db.models import Version

    Influence = NDArray[np.float64]

FAMILIES = (
    "ek-fac",
    "trak",
    "grad-dot",
    "tracin",
    "datamodel",
    "similarity",
    "influence",
    "representer",
    "arnoldi",
    "logra",
)
TAGS = ("gradients", "curvature", "retraining", "kernel", "ensemble", "baseline")
OWNERS = 100
DAY = timedelta(days=1)


def add_entries(
    session: Session, version: Version, entries: int, *, owners: int = OWNERS, replicated: int | None = None
) -> None:
    """Add listed entries to a version and rank them.

    One entry in ten is anonymous; most have a cost, some have tags, links and a provenance. All influences share a common
    part, as influences of real methods do, so that rank groups arise.

    Parameters
    ----------
    owners
        Number of users who own the entries in turn.
    replicated
        If this is a number r, every r-th entry is the mean over three files.
    """
    rng = np.random.default_rng(5)
    M = version.manifest["subsets"]["ranking"]
    common_M = rng.normal(size=M)
    accounts = [users.add_user(session, f"lab-{number:03}") for number in range(min(owners, entries))]
    for number in range(entries):
        family = FAMILIES[int(rng.integers(len(FAMILIES)))]
        owner = accounts[number % len(accounts)]
        submission = _submission(rng, version, owner, f"{family}-{number // len(accounts)}.{number:03}")
        session.add(submission)
        session.flush()
        if rng.random() < 0.1:
            visibility.set_visibility(session, submission, Visibility.ANONYMOUS)
        if rng.random() < 0.3:
            session.add(Provenance(submission_id=submission.id, repository=f"{owner.name}/{family}", commit="0" * 40))
        influence_M = 0.3 * common_M + 0.1 * rng.normal(size=M)
        lds = float(rng.beta(2, 3)) * 0.7
        _add_result(session, submission, lds, influence_M - influence_M.mean())
        if replicated and number % replicated == 0:
            for _ in range(2):
                _add_replicate(session, rng, submission, lds, influence_M)
    session.flush()
    update_ranks(session, version)


def add_entry(session: Session, version: Version, owner: User, method: str, lds: float, day: int) -> Submission:
    """Add a public entry with an LDS and a day of submission, without ranking the board.

    Two entries of equal LDS are not significantly different; entries that differ by .1 are.
    """
    rng = np.random.default_rng([7, day])
    submission = _submission(rng, version, owner, method)
    submission.created_at = datetime(2026, 1, 1, tzinfo=UTC) + day * DAY
    session.add(submission)
    session.flush()
    influence_M = 0.1 * rng.normal(size=version.manifest["subsets"]["ranking"])
    _add_result(session, submission, lds, influence_M - influence_M.mean())
    return submission


def _add_replicate(
    session: Session, rng: np.random.Generator, root: Submission, lds: float, influence_M: Influence
) -> None:
    """Add a replicate of a submission, older than the submission."""
    submission = _submission(rng, root.version, root.user, root.method)
    submission.created_at = root.created_at - DAY
    submission.visibility, submission.replicate_of = root.visibility, root.id
    session.add(submission)
    session.flush()
    moved_M = influence_M + 0.03 * rng.normal(size=influence_M.size)
    _add_result(session, submission, lds + 0.01 * float(rng.normal()), moved_M - moved_M.mean())


def _submission(rng: np.random.Generator, version: Version, owner: User, method: str) -> Submission:
    cost: dict[str, Any] = {"device": "NVIDIA A100", "models": int(rng.integers(1, 50))}
    if rng.random() < 0.8:
        cost["seconds"] = float(np.exp(rng.normal(5, 2)).round(3))
    family = method.rsplit("-", 1)[0]
    return Submission(
        user=owner,
        version=version,
        kind=Kind.RANKED,
        state=State.SCORED,
        method=method,
        title=f"{family.title()} with {int(rng.integers(1, 20))} checkpoints and {method} settings",
        tags=sorted({TAGS[i] for i in rng.integers(len(TAGS), size=2)}),
        urls={"code": f"https://example.org/{owner.name}/{family}"} if rng.random() < 0.5 else {},
        cost=cost if rng.random() < 0.9 else None,
        size=1,
        created_at=now() - float(rng.random()) * 300 * DAY,
    )


def _add_result(session: Session, submission: Submission, lds: float, influence_M: Influence) -> None:
    evaluation = Evaluation(
        submission_id=submission.id,
        version_id=submission.version_id,
        scorer_version=result.SCORER_VERSION,
        scored_at=now(),
    )
    error = float(np.sqrt(np.square(influence_M).sum() / (influence_M.size * (influence_M.size - 1))))
    evaluation.measurements = [_measurement(part, lds, error, influence_M) for part in ("public", "ranking")]
    session.add(evaluation)
    session.flush()


def _measurement(part: str, lds: float, error: float, influence_M: Influence) -> Measurement:
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
        per_target=np.zeros(7).tobytes(),
    )

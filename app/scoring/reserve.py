"""The reserve: hidden subsets that are scored and never answered, and the check that finds files fitted to the answers.

Everything in this module is for the operator. Until a benchmark is retired, its results on the reserve are secret: no page and no
API response is allowed to use this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import structlog
from sqlalchemy import select
from sqlalchemy.orm import aliased

from app.db.accounts import User
from app.db.models import Evaluation, Measurement, State, Submission
from ldsboard.core.reserve import ReserveCheck, check_reserve

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.orm import Session

    from app.db.models import Version
    from app.scoring.sandbox.part_results import PartResult

log = structlog.get_logger()


class Checked(NamedTuple):
    """A scored submission, its LDS on the answered ranking subsets and on the reserve, and the comparison of the two."""

    submission_id: str
    owner: str
    method: str
    answered_lds: float
    reserve_lds: float
    check: ReserveCheck


def scored_parts(version: Version) -> list[str]:
    """Return the parts of the ground truth for a ranked submission: ``public``, ``ranking`` and, if there is one, ``reserve``."""
    return ["public", "ranking", *(["reserve"] if version.reserve_subsets else [])]


def warn_if_flagged(submission: Submission, scored: Mapping[str, PartResult]) -> None:
    """Write a warning to the log if the result on the answered ranking subsets is too far above the result on the reserve.

    `scored` maps each part to its result. Nothing is checked if there is no part ``reserve``.
    """
    if "reserve" not in scored:
        return
    (lds, error, M), (lds_r, error_r, M_r) = (
        (found.numbers["lds"], found.numbers["std_error"], found.influence.size)
        for found in (scored["ranking"], scored["reserve"])
    )
    check = check_reserve((lds, error, M), (lds_r, error_r, M_r))
    if check.is_flagged:
        log.warning(
            "reserve.flagged", submission=submission.id, difference=round(check.difference, 4), z=round(check.z, 1)
        )


def list_checked(session: Session, version: Version) -> list[Checked]:
    """Compare every scored ranked submission to a version with the reserve, in one query; return the largest z first.

    The list is empty if the version has no reserve. Withdrawn submissions are not listed, because their results are deleted.
    """
    answered, reserve = aliased(Measurement), aliased(Measurement)
    query = (
        select(
            *(Submission.id, User.name, Submission.method),
            *(answered.lds, answered.std_error, reserve.lds, reserve.std_error),
        )
        .join(Evaluation, Evaluation.submission_id == Submission.id)
        .join(User, User.id == Submission.user_id)
        .join(answered, answered.evaluation_id == Evaluation.id)
        .join(reserve, reserve.evaluation_id == Evaluation.id)
        .where(
            Evaluation.version_id == version.id,
            Evaluation.scorer_version == version.scorer_version,
            Submission.state == State.SCORED,
            answered.part == "ranking",
            reserve.part == "reserve",
        )
    )
    M, M_r = version.manifest["subsets"]["ranking"], version.reserve_subsets
    found = [
        Checked(number, owner, method, lds, lds_r, check_reserve((lds, error, M), (lds_r, error_r, M_r)))
        for number, owner, method, lds, error, lds_r, error_r in session.execute(query)
    ]
    return sorted(found, key=lambda each: (-each.check.z, each.submission_id))

"""The current evaluation of a submission: the evaluation that pages and the API show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.orm import joinedload, selectinload

from app.db.models import FINAL, Evaluation, Version
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from app.db.models import Submission


def current_evaluations(
    session: Session, submissions: Sequence[Submission], *, arrays: bool = False
) -> dict[str, Evaluation]:
    """Return the current evaluation of each submission, by submission id; submissions without a result are left out.

    The current evaluation is the finished evaluation against the current version of the benchmark. If there is no such
    evaluation, the finished evaluation against the version that the submission was sent to is the current evaluation; without
    this one too, a finished evaluation against another version. Of several evaluations against one version, the evaluation by the
    scorer version of the board is preferred.

    Parameters
    ----------
    arrays
        Whether to load the arrays of psi and rho as well.
    """
    sent_to = {submission.id: submission.version for submission in submissions}
    query = select(Evaluation).where(Evaluation.submission_id.in_(sent_to), Evaluation.scored_at.is_not(None))
    query = query.options(joinedload(Evaluation.version).joinedload(Version.benchmark))
    if arrays:
        query = query.options(selectinload(Evaluation.measurements).undefer("*"))

    def preference(evaluation: Evaluation) -> tuple[bool, bool, bool, int]:
        version, first = evaluation.version, sent_to[evaluation.submission_id]
        on_board = evaluation.scorer_version == version.scorer_version
        return version.version == first.benchmark.current_version, version.id == first.id, on_board, evaluation.id

    return {evaluation.submission_id: evaluation for evaluation in sorted(session.scalars(query), key=preference)}


def scored_evaluations(session: Session, submissions: Sequence[Submission]) -> list[Evaluation]:
    """Return the current evaluation of each submission, with the arrays of psi and rho, in the order of the submissions.

    Raises
    ------
    ProblemError
        ``submission.not_scored``: a submission has no result.
    """
    evaluations = current_evaluations(session, submissions, arrays=True)
    for submission in submissions:
        if submission.id not in evaluations:
            detail = f"The state of submission {submission.id} is {submission.state}."
            hint = "Wait until the state of the submission is 'scored'."
            if submission.state in FINAL:
                hint = "The submission has no result. Choose another submission."
            raise ProblemError("submission.not_scored", detail, hint)
    return [evaluations[submission.id] for submission in submissions]


def mean_seconds(session: Session) -> float | None:
    """Return the mean duration of the last 20 evaluations in seconds; None before the first evaluation."""
    last = select(Evaluation.seconds).where(Evaluation.scored_at.is_not(None)).order_by(Evaluation.id.desc()).limit(20)
    return session.scalar(select(func.avg(last.subquery().c.seconds)))

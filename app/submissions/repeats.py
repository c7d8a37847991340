"""Repeats: what a call may ask of a submission that it repeats, with the same file or with the same idempotency key.

A repeat changes nothing. Texts, links and the visibility stay as they are, and the answer shows them. What decides the numbers
and ranks of a board must not be lost without notice: a call that asks for it is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.submissions.replicates import are_replicates
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.db.models import Submission
    from app.submissions.fields import SubmissionRequest


def check_repeat(session: Session, earlier: Submission, asked: Submission | SubmissionRequest) -> None:
    """Check that a submission has the declaration and is the replicate that a call which repeats it asks for.

    A call that leaves these fields out asks for nothing.

    Raises
    ------
    ProblemError
        ``request.conflict``: the call declares the scores as fitted, or names a replicate, and `earlier` is not declared, or is
        no replicate of the named one.
    """
    if asked.uses_subsets and not earlier.uses_subsets:
        raise ProblemError(
            "request.conflict",
            f"This call repeats submission {earlier.id}, which is not declared as fitted to the ranking subsets (uses_subsets).",
            f"Nothing was changed. Declare it on the page /account or with PATCH /api/v1/submissions/{earlier.id}.",
        )
    if asked.replicate_of is not None and not are_replicates(session, earlier, asked.replicate_of):
        raise ProblemError(
            "request.conflict",
            f"This call repeats submission {earlier.id}, which is no replicate of {asked.replicate_of}.",
            f"Nothing was changed, because a repeated file cannot become a replicate. Leave out replicate_of. Or withdraw "
            f"{earlier.id} with DELETE /api/v1/submissions/{earlier.id}, and send the file again.",
        )

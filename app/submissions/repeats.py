"""Repeats: what a call may ask of a submission that it repeats, with the same file or with the same idempotency key.

A repeat changes nothing. Texts and links stay as they are, and the answer shows them. A call is refused if it asks for something
that must not be lost without notice: what decides the numbers and ranks of a board, and a narrower visibility.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.db.models import Visibility
from app.submissions.replicates import are_replicates
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.db.models import Submission
    from app.submissions.fields import SubmissionRequest


EXPOSURE = {Visibility.PRIVATE: 0, Visibility.ANONYMOUS: 1, Visibility.PUBLIC: 2}
"""Values of a submission's visibility; each shows more than the one before."""


def check_repeat(session: Session, earlier: Submission, asked: Submission | SubmissionRequest) -> None:
    """Check that a submission shows no more than a call which repeats it asks for, and has what the call states about the scores.

    Raises
    ------
    ProblemError
        ``request.conflict``: `earlier` is more visible than the call asks for; or the call declares the scores as fitted, or
        names a replicate, and `earlier` is not declared, or is no replicate of the named one.
    """
    if EXPOSURE[Visibility(asked.visibility)] < EXPOSURE[Visibility(earlier.visibility)]:
        raise ProblemError(
            "request.conflict",
            f"You sent this file before, as submission {earlier.id}, which is {earlier.visibility}. No new {asked.visibility} "
            f"submission was created, and {earlier.id} is still {earlier.visibility}.",
            f"Make submission {earlier.id} {asked.visibility} on the page /account or with PATCH "
            f"/api/v1/submissions/{earlier.id}. Or withdraw submission {earlier.id}, and submit the file again.",
        )
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

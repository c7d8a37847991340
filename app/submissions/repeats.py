"""Repeats: calls that send an earlier file or idempotency key again, and whose response shows the earlier submission.

A repeat does not change the fields of the earlier submission; a repeated file can only add a provenance. Other texts and links in
the call are ignored, but some requests must not be ignored without notice. The call is refused if it asks for a narrower
visibility, declares the scores as fitted, or names a root, and the earlier submission differs in this.
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
"""A number for each visibility: a submission with a higher number shows more, or shows itself to more people."""


def check_repeat(session: Session, earlier: Submission, asked: Submission | SubmissionRequest) -> None:
    """Refuse a repeat that asks for a narrower visibility, a declaration or a root that the earlier submission does not have.

    Parameters
    ----------
    earlier
        The submission that the call repeats.
    asked
        What the call asks for: visibility, ``uses_subsets`` and ``replicate_of``.

    Raises
    ------
    ProblemError
        ``request.conflict``: `earlier` is more visible than `asked`; `asked` declares the scores as fitted, and `earlier` does
        not; or `earlier` is no replicate of the submission that `asked` names.
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

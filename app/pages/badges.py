"""The badge of an entry, to be shown elsewhere."""

from __future__ import annotations

from fastapi import Response

from app.leaderboard import entries
from app.pages.content.templates import render
from app.pages.routing import Pages
from app.results import submission_views
from app.submissions import visibility
from app.web.dependencies import ReadSession
from ldsboard.problems import ProblemError

router = Pages()

KEPT_SECONDS = 300
LONGEST = 40
"""Characters of a name on a badge."""


@router.page("/submissions/{submission_id}/badge.svg")
def show_badge(session: ReadSession, submission_id: str) -> Response:
    """Draw the badge of an entry, or of the one that is listed for its method now: everybody is shown the same."""
    view = submission_views.submission_view(
        session, entries.find_listed(session, visibility.find_submission(session, submission_id, None))
    )
    if view.hidden is None or view.hidden.rank is None:
        raise ProblemError(
            "submission.unknown",
            expected="a submission that is listed on a leaderboard",
            got=repr(submission_id[:40]),
            hint="Only ranked submissions have a badge, once one of their owner and method is on the board.",
        )
    name = view.method if view.method != visibility.WITHHELD else view.owner
    badge = render(
        "badge.svg",
        name=name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…",
        benchmark=view.benchmark.name,
        numbers=view.hidden,
    )
    headers = {"Cache-Control": f"public, max-age={KEPT_SECONDS}"}
    return Response(badge, media_type="image/svg+xml", headers=headers)

"""SVG badges of leaderboard entries, for use on other sites."""

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

CACHE_SECONDS = 300

MAX_NAME_LENGTH = 40
"""Maximum number of characters of a name on a badge."""


@router.page("/submissions/{submission_id}/badge.svg")
def show_badge(session: ReadSession, submission_id: str) -> Response:
    """Draw the badge of an entry, or of the entry that now represents its method; the badge does not depend on the visitor."""
    view = submission_views.submission_view(
        session, entries.find_listed_or_same(session, visibility.find_submission(session, submission_id, None))
    )
    if view.hidden is None or view.hidden.rank is None:
        raise ProblemError(
            "submission.unknown",
            f"No leaderboard lists {submission_id[:40]!r}.",
            "Only ranked submissions have a badge, once their method is on a leaderboard.",
        )
    name = view.method if view.method != visibility.WITHHELD else view.owner
    badge = render(
        "badge.svg",
        name=name if len(name) <= MAX_NAME_LENGTH else f"{name[: MAX_NAME_LENGTH - 1]}…",
        benchmark=view.benchmark.name,
        numbers=view.hidden,
    )
    headers = {"Cache-Control": f"public, max-age={CACHE_SECONDS}"}
    return Response(badge, media_type="image/svg+xml", headers=headers)

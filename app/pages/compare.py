"""Submissions beside each other."""

from __future__ import annotations

import re
from itertools import combinations
from typing import Annotated

from fastapi import Query, Request
from sqlalchemy.orm import Session

from app.benchmarks import catalog
from app.leaderboard.views import leaderboard_view
from app.pages.content.charts import versus
from app.pages.content.templates import render
from app.pages.routing import Pages
from app.results import comparison, submission_views
from app.results.schemas import SubmissionView
from app.submissions import visibility
from app.web.dependencies import ReadSession, VersionNumber
from app.web.sessions import SignedInUser
from ldsboard.problems import ProblemError

router = Pages()

MOST = 10
"""Submissions that are compared at a time: every two of them are."""


@router.page("/compare")
def compare(
    request: Request,
    session: ReadSession,
    visitor: SignedInUser,
    benchmark: Annotated[str, Query(max_length=64)] = "",
    version: VersionNumber = None,
    choose: bool = False,
) -> str:
    """Compare two or more submissions, named as a, b, c… or each as id; or ask which."""
    found = [visibility.find_submission(session, wanted, visitor) for wanted in _named(request)]
    if choose or len(found) < 2:  # noqa: PLR2004
        return _ask(
            session, [submission_views.submission_view(session, one, visitor) for one in found], benchmark, version
        )
    pairs = comparison.compare_all(session, found)
    sides = [submission_views.submission_view(session, submission, visitor) for submission in found]
    return render(
        "comparison.html",
        sides=sides,
        pairs=[(*two, pair) for two, pair in zip(combinations(sides, 2), pairs, strict=True)],
        versus=versus(*(submission_views.public_per_target(session, submission) for submission in found[:2])),
    )


def _named(request: Request) -> list[str]:
    """Return the ids in the address, each once, in their order.

    Raises
    ------
    ProblemError
        ``request.invalid``: there are too many.
    """
    named = [value.strip() for name, value in request.query_params.multi_items() if re.fullmatch("id|[a-z]", name)]
    ids = list(dict.fromkeys(filter(None, named)))
    if len(ids) > MOST:
        raise ProblemError(
            "request.invalid", expected=f"at most {MOST} submissions", got=str(len(ids)), hint="Leave some out."
        )
    return ids


def _ask(session: Session, chosen: list[SubmissionView], name: str, number: int | None) -> str:
    """Ask which submissions, from the board of a benchmark: the one that is named, or else that of the one chosen."""
    if chosen and not name:
        name, number = chosen[0].benchmark.name, chosen[0].benchmark.version
    rows = leaderboard_view(session, catalog.find_version(session, name, number)).rows if name else []
    return render(
        "compare.html",
        benchmark=name,
        rows=rows,
        boards=[version.benchmark.name for version in catalog.current_versions(session)],
        chosen=chosen,
        unlisted=[view for view in chosen if view.id not in {row.id for row in rows}],
        most=MOST,
    )

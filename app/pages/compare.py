"""The page that compares submissions, and the form that selects them."""

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
from app.results import comparison, current_evaluation
from app.results.schemas import SubmissionView
from app.results.submission_views import public_per_target, submission_views
from app.submissions import visibility
from app.web.dependencies import ReadSession, VersionNumber
from app.web.sessions import SignedInUser
from ldsboard.problems import ProblemError

router = Pages()

MAX_SUBMISSIONS = 10
"""Maximum number of submissions in one comparison; the page compares every pair."""


@router.get("/compare")
def compare(
    request: Request,
    session: ReadSession,
    visitor: SignedInUser,
    benchmark: Annotated[str, Query(max_length=64)] = "",
    version: VersionNumber = None,
    choose: bool = False,
) -> str:
    """Show a comparison of every pair of the submissions whose ids are given as query parameters ``a``, ``b``, … or ``id``.

    If `choose` is true or fewer than two submissions are given, show instead the form that selects submissions.
    """
    submissions = visibility.find_submissions(session, _requested_ids(request), visitor)
    if choose or len(submissions) < 2:  # noqa: PLR2004
        return _choice_page(session, submission_views(session, submissions, visitor), benchmark, version)
    evaluations = current_evaluation.scored_evaluations(session, submissions)
    pairs = comparison.compare_all(session, evaluations)
    shown = {evaluation.submission_id: evaluation for evaluation in evaluations}
    sides = submission_views(session, submissions, visitor, shown)
    manifest = evaluations[0].version.manifest
    return render(
        "comparison.html",
        split=manifest["split"],
        ranked=catalog.has_ranks(manifest),
        all_subsets_rank=catalog.all_subsets_rank(manifest),
        sides=sides,
        pairs=[(*two, pair) for two, pair in zip(combinations(sides, 2), pairs, strict=True)],
        versus=versus(*map(public_per_target, evaluations[:2])),
    )


def _requested_ids(request: Request) -> list[str]:
    """Return the submission ids in the query string, in order, without duplicates.

    Raises
    ------
    ProblemError
        ``request.invalid``: more than `MAX_SUBMISSIONS` ids.
    """
    values = [value.strip() for name, value in request.query_params.multi_items() if re.fullmatch("id|[a-z]", name)]
    ids = list(dict.fromkeys(filter(None, values)))
    if len(ids) > MAX_SUBMISSIONS:
        raise ProblemError.mismatch(
            "request.invalid",
            expected=f"at most {MAX_SUBMISSIONS} submissions",
            got=str(len(ids)),
            hint="Leave out some submissions.",
        )
    return ids


def _choice_page(session: Session, chosen: list[SubmissionView], name: str, number: int | None) -> str:
    """Return the form that selects submissions from a benchmark, by default the benchmark of the first chosen submission."""
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
        max_submissions=MAX_SUBMISSIONS,
    )

"""Submissions, one page each."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from fastapi.responses import HTMLResponse, Response
from sqlalchemy.orm import Session

from app.accounts.users import Account
from app.benchmarks import catalog
from app.benchmarks.examples import Examples
from app.context import AppContext
from app.db.models import FINAL, State, Submission
from app.leaderboard.views import benchmark_view, leaderboard_view
from app.pages.content import citations
from app.pages.content.charts import by_class, histogram
from app.pages.content.targets import targets
from app.pages.content.templates import render
from app.pages.routing import Pages, PublicUrl
from app.results import current_evaluation, submission_views
from app.submissions import visibility
from app.web.dependencies import ContextDep, ReadSession
from app.web.sessions import SignedInUser

router = Pages()

OTHERS = 20
"""Entries that the page offers to compare with, the first ones; the page of comparisons has all."""

WhichTarget = Annotated[int | None, Query(ge=0, lt=2**31)]


@router.page("/submissions/{submission_id}")
def show_submission(
    session: ReadSession,
    context: ContextDep,
    visitor: SignedInUser,
    public_url: PublicUrl,
    submission_id: str,
    target: WhichTarget = None,
) -> str:
    """Show a submission and what became of it; until that is final, the page asks for its state."""
    found = visibility.find_submission(session, submission_id, visitor)
    page = _page(session, context, found, visitor, public_url, target)
    return render("submission.html", **page, polled=False)


@router.page("/submissions/{submission_id}/state")
def show_state(
    session: ReadSession,
    context: ContextDep,
    visitor: SignedInUser,
    public_url: PublicUrl,
    submission_id: str,
    seen: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    """Answer a page that asks for the state: nothing while it is the one `seen`, and in the end the result with it."""
    found = visibility.find_submission(session, submission_id, visitor)
    if seen == _mark(*submission_views.progress(session, found)):
        return Response(status_code=204)
    page = _page(session, context, found, visitor, public_url, None)
    return HTMLResponse(render("submission_live.html", **page, polled=True))


def _mark(state: str, place: int | None) -> str:
    """Return what changes with everything that a waiting page shows."""
    return state if place is None else f"{state}-{place}"


def _page(
    session: Session,
    context: AppContext,
    found: Submission,
    visitor: Account | None,
    public_url: str,
    target: int | None,
) -> dict[str, Any]:
    """Return all that the templates of a submission are given."""
    view = submission_views.submission_view(session, found, visitor)
    version = catalog.find_version(session, view.benchmark.name, view.benchmark.version)
    benchmark = benchmark_view(session, version)
    page = {
        "submission": view,
        "benchmark": benchmark,
        "final": State(view.state) in FINAL,
        "mark": _mark(view.state, view.queue.position if view.queue else None),
        "usual_seconds": current_evaluation.usual_seconds(session),
        "own": visibility.owns(visitor, found),
        "public_url": public_url,
        "result": None,
    }
    numbers = view.hidden or view.public
    if view.public is None or numbers is None:
        return page
    evaluation = current_evaluation.current_evaluation(session, found)
    rho_N = submission_views.public_per_target(session, found)
    examples = Examples(context.settings.benchmarks_dir, version)
    address = f"{public_url}{view.links['page']}"
    page["result"] = {
        "bins": histogram(rho_N),
        "classes": by_class(rho_N, [examples.label("target", j) for j in range(rho_N.size)]),
        "targets": targets(session, evaluation, examples, rho_N, target),
        "others": [row for row in leaderboard_view(session, version, limit=OTHERS).rows if row.id != view.id],
        "reproduction": citations.reproduction(benchmark, version.benchmark.current_version, public_url),
        "address": address,
        "bibtex": citations.bibtex(view, benchmark, numbers, address),
        "table_row": citations.table_row(view, numbers),
    }
    return page

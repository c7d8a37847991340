"""The page of a submission, and the part of it that the browser polls until the result is final."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Query
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.accounts.users import Account
from app.benchmarks.catalog import version_folder
from app.benchmarks.examples import Examples
from app.benchmarks.mean_margins import mean_margins
from app.context import AppContext
from app.db.accounts import Role
from app.db.models import FINAL, Event, State, Submission
from app.leaderboard.entries import list_entries
from app.leaderboard.falls import counterfactual_view
from app.leaderboard.views import benchmark_view
from app.pages.content import citations
from app.pages.content.charts import histogram
from app.pages.content.target_groups import by_class, by_margin
from app.pages.content.targets import targets
from app.pages.content.templates import render
from app.pages.routing import Pages
from app.results import current_evaluation, replicate_sets, submission_views
from app.submissions import visibility
from app.web.dependencies import ContextDep, ReadSession
from app.web.sessions import SignedInUser

router = Pages()

MAX_OTHERS = 20
"""Maximum number of entries offered for comparison, best first; the comparison page offers all entries."""

TargetIndex = Annotated[int | None, Query(ge=0, lt=2**31)]


@router.get("/submissions/{submission_id}")
def show_submission(
    session: ReadSession, context: ContextDep, visitor: SignedInUser, submission_id: str, target: TargetIndex = None
) -> str:
    """Show a submission; the page polls `show_state` until the state is final."""
    submission = visibility.find_submission(session, submission_id, visitor, visibility.FOR_VIEW)
    page = _page_values(session, context, submission, visitor, target)
    return render("submission.html", **page, polled=False, events=_events(session, submission, visitor))


@router.get("/submissions/{submission_id}/state")
def show_state(
    session: ReadSession,
    context: ContextDep,
    visitor: SignedInUser,
    submission_id: str,
    seen: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    """Answer a page that polls: with the HTML of the state, unless the state mark equals `seen`.

    The HTML contains the result if the state is final. While the state mark equals `seen`, the answer is the HTML of the
    progress, or status 204 if no progress is known.
    """
    submission = visibility.find_submission(session, submission_id, visitor)
    progress = submission_views.progress(session, submission)
    notice = submission_views.delay_notice(
        session, progress.state, restarting=context.sandbox.is_restarting, workers_score=context.settings.workers_score
    )
    if seen == _state_mark(*progress, notice):
        fraction = submission_views.scored_fraction(session, submission)
        if fraction is None:
            return Response(status_code=204)
        # Not the whole state, because a screen reader would announce the state again with each percent.
        return HTMLResponse(render("submission_progress.html", progress=fraction), headers={"HX-Reswap": "none"})
    (submission,) = visibility.find_submissions(session, [submission_id], visitor)
    page = _page_values(session, context, submission, visitor)
    return HTMLResponse(render("submission_live.html", **page, polled=True))


def _events(session: Session, submission: Submission, visitor: Account | None) -> Sequence[Event]:
    """Return the events of a submission, oldest first; none unless the visitor is an admin, because they can name faults."""
    if visitor is None or visitor.role is not Role.ADMIN:
        return []
    return session.scalars(select(Event).where(Event.submission_id == submission.id).order_by(Event.id)).all()


def _state_mark(state: str, queue_position: int | None, notice: str | None) -> str:
    """Return a text that changes when the state or the queue position changes, or when a delay notice appears or disappears."""
    mark = state if queue_position is None else f"{state}-{queue_position}"
    return mark if notice is None else f"{mark}-delayed"


def _page_values(
    session: Session, context: AppContext, submission: Submission, visitor: Account | None, target: int | None = None
) -> dict[str, Any]:
    """Return the values that the templates of a submission's page need."""
    evaluations = current_evaluation.current_evaluations(session, [submission], arrays=True)
    (view,) = submission_views.submission_views(session, [submission], visitor, evaluations)
    view.notice = submission_views.delay_notice(
        session, view.state, restarting=context.sandbox.is_restarting, workers_score=context.settings.workers_score
    )
    evaluation = evaluations.get(submission.id)
    public_url = context.settings.public_url
    version = evaluation.version if evaluation else submission.version
    entries = list_entries(session, version)
    benchmark = benchmark_view(session, version, entries)
    page = {
        "submission": view,
        "benchmark": benchmark,
        "final": State(view.state) in FINAL,
        "mark": _state_mark(view.state, view.queue.position if view.queue else None, view.notice),
        "usual_seconds": current_evaluation.mean_seconds(session) if submission.state == State.SCORING else None,
        "own": visibility.owns(visitor, submission),
        "public_url": public_url,
        "result": None,
    }
    numbers = view.hidden or view.public
    if evaluation is None or numbers is None:
        return page
    rho_N, p_values_N = submission_views.public_per_target(evaluation), submission_views.public_p_values(evaluation)
    if view.public is not None:
        view.public.targets = submission_views.target_numbers(evaluation)
        found = replicate_sets.find_replicates(session, [evaluation])
        view.replicates = replicate_sets.replicates_view(found[evaluation.submission_id])
        view.counterfactual = counterfactual_view(session, version, submission.id)
    retrained = view.counterfactual.targets if view.counterfactual is not None else []
    examples = Examples(context.settings.benchmarks_dir, version)
    by_sign = []
    if version.manifest["output_function"] == "margin":  # of other output functions, the sign need not have a meaning
        folder = version_folder(context.settings.benchmarks_dir, version.benchmark.name, version.version)
        by_sign = by_margin(rho_N, p_values_N, mean_margins(folder))
    address = f"{public_url}{view.links['page']}"
    page["result"] = {
        "bins": histogram(rho_N),
        "classes": by_class(rho_N, p_values_N, [examples.label("target", j) for j in range(rho_N.size)]),
        "margins": by_sign,
        "targets": targets(session, evaluation, examples, rho_N, target, retrained),
        "others": [entry for entry in entries[:MAX_OTHERS] if entry.id != view.id],
        "reproduction": citations.reproduction(benchmark, version.benchmark.current_version, public_url),
        "address": address,
        "bibtex": citations.bibtex(view, benchmark, numbers, address),
        "table_row": citations.table_row(view, benchmark, numbers),
    }
    return page

"""API calls to read submissions: state, results and comparisons."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from sqlalchemy.orm import Session

from app.accounts.users import Account, authenticate
from app.api.responses import view_submission
from app.context import AppContext
from app.db.models import FINAL
from app.results import submission_views
from app.results.comparison import compare
from app.results.schemas import ComparisonView, SubmissionView
from app.submissions import visibility
from app.web.dependencies import ContextDep, OptionalUser, ReadSession, client_address
from app.web.public_route import PublicRoute

router = APIRouter(tags=["submissions"], route_class=PublicRoute)

POLL_SECONDS = 2.0
"""Seconds between two checks of the queue position. A change of state wakes a waiting request; a change of position does not."""

MAX_WAIT_SECONDS = 60


@router.get("/submissions/{submission_id}")
async def show_submission(
    request: Request,
    context: ContextDep,
    viewer: OptionalUser,
    submission_id: str,
    wait: Annotated[
        float, Query(ge=0, le=MAX_WAIT_SECONDS, description="longest time to wait for a change, in seconds")
    ] = 0,
) -> SubmissionView:
    """Show a submission.

    With `wait`, the response is sent when the submission's state, queue position or notice changes, or after `wait`
    seconds. Only requests for a submission that is uploading, queued or being scored wait. At most 20 requests per client address
    can wait at the same time; further requests are answered at once.
    """
    with context.wait_limiter.slot(client_address(request)) as may_wait:
        if wait == 0 or not may_wait:
            return await run_in_threadpool(view_submission, context, submission_id, viewer)
        authorization = request.headers.get("authorization")
        deadline = time.monotonic() + wait
        with context.database.changes.watch(submission_id) as changed:
            before = now = await run_in_threadpool(_read_progress, context, submission_id, authorization)
            while now == before and now[0].state not in FINAL and (left := deadline - time.monotonic()) > 0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), min(POLL_SECONDS, left))
                changed.clear()
                now = await run_in_threadpool(_read_progress, context, submission_id, authorization)
    return await run_in_threadpool(_view_for_current_viewer, context, submission_id, authorization)


def _read_progress(
    context: AppContext, submission_id: str, authorization: str | None
) -> tuple[submission_views.Progress, str | None]:
    """Return state and queue position of a submission, and a notice if scoring is delayed, otherwise None.

    The viewer is authenticated again, and an error is raised if the viewer is no longer allowed to see the submission.
    """
    with context.database.read() as session:
        viewer = _current_viewer(session, authorization)
        progress = submission_views.progress(session, visibility.find_submission(session, submission_id, viewer))
        return progress, submission_views.delay_notice(
            session,
            progress.state,
            restarting=context.sandbox.is_restarting,
            workers_score=context.settings.workers_score,
        )


def _view_for_current_viewer(context: AppContext, submission_id: str, authorization: str | None) -> SubmissionView:
    """Authenticate the viewer again and return a submission; raise an error if the viewer is no longer allowed to see it."""
    with context.database.read() as session:
        viewer = _current_viewer(session, authorization)
    return view_submission(context, submission_id, viewer)


def _current_viewer(session: Session, authorization: str | None) -> Account | None:
    """Authenticate a viewer again, because the token can have expired; return the account, or None without a token."""
    return authenticate(session, authorization) if authorization else None


@router.get("/submissions/{submission_id}/per-target.npz", response_class=Response)
def download_per_target(session: ReadSession, viewer: OptionalUser, submission_id: str) -> Response:
    """Download rho of each of the N targets: an .npz file with the array `rho`, of type float64 and shape (N,).

    `rho` of a target is Spearman's rank correlation of the target's predictions and margins over the subsets of the public LDS.

    Once the counterfactual evaluation has ended, the file also has the falls of T targets without K numbers of examples:
    `fall_targets`, int64 (T,), the indices of the targets; `fall_sizes`, int64 (K,), the numbers of removed examples;
    `fall_before`, float64 (T,), the mean margins by models trained on all examples; and `falls`, float64 (2, K, T), how far these
    margins fall without proponents, then without opponents. Negative falls are rises.
    """
    submission = visibility.find_submission(session, submission_id, viewer)
    return Response(submission_views.per_target_npz(session, submission), media_type="application/zip")


@router.get("/compare")
def compare_submissions(session: ReadSession, viewer: OptionalUser, a: str, b: str) -> ComparisonView:
    """Compare two submissions that are scored on the same version: the paired difference of their LDS, `a` minus `b`.

    A submission with replicates stands for their mean, unless the two submissions are replicates of each other.
    """
    return compare(session, *visibility.find_submissions(session, [a, b], viewer))

"""Submissions, watched."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from app.api.acceptance import shown
from app.db.models import FINAL, Submission
from app.dependencies import Reading, TheRooms, Viewer
from app.rooms import Rooms
from app.services import results, visibility
from app.services.accounts import authenticate
from app.services.comparison import compare
from app.services.views import ComparisonView, SubmissionView

router = APIRouter(tags=["submissions"])

POLL_SECONDS = 0.1
MAX_WAIT_SECONDS = 60


@router.get("/submissions/{submission_id}")
async def show_submission(
    request: Request,
    rooms: TheRooms,
    viewer: Viewer,
    submission_id: str,
    wait: Annotated[float, Query(ge=0, le=MAX_WAIT_SECONDS, description="seconds to wait for a change")] = 0,
) -> SubmissionView:
    """Show a submission; with `wait`, answer when its state or place in the queue changes, or when the time is over."""
    view = await run_in_threadpool(shown, rooms, submission_id, viewer)
    before = (view.state, view.queue)
    deadline = time.monotonic() + wait
    while view.state not in FINAL and (view.state, view.queue) == before and time.monotonic() < deadline:
        await asyncio.sleep(POLL_SECONDS)
        view = await run_in_threadpool(_look_again, rooms, submission_id, request.headers.get("authorization"))
    return view


def _look_again(rooms: Rooms, submission_id: str, authorization: str | None) -> SubmissionView:
    """Return a submission as somebody may still see it, whose token may have ended meanwhile."""
    with rooms.database.read() as session:
        viewer = authenticate(session, authorization) if authorization else None
    return shown(rooms, submission_id, viewer)


@router.get("/submissions/{submission_id}/per-target.npz", response_class=Response)
def download_per_target(session: Reading, viewer: Viewer, submission_id: str) -> Response:
    """Download Spearman's rho of every target on the public subsets."""
    submission = visibility.find(session, submission_id, viewer)
    return Response(results.per_target_npz(session, submission), media_type="application/zip")


@router.get("/compare")
def compare_submissions(session: Reading, viewer: Viewer, a: str, b: str) -> ComparisonView:
    """Compare two scored submissions to the same version: the paired difference of their LDS."""

    def of(submission_id: str) -> Submission:
        return visibility.find(session, submission_id, viewer)

    return compare(session, of(a), of(b))

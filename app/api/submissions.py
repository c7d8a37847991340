"""Submissions, watched."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from sqlalchemy.orm import Session

from app.api.acceptance import shown
from app.db.models import FINAL, Submission
from app.dependencies import Reading, TheRooms, Viewer, address_of
from app.rooms import Rooms
from app.services import results, visibility
from app.services.accounts import Account, authenticate
from app.services.comparison import compare
from app.services.views import ComparisonView, SubmissionView

router = APIRouter(tags=["submissions"])

LOOK_SECONDS = 2.0
"""How often a request that waits looks by itself: a change of state is announced to it, one of its place in the queue is not."""

MAX_WAIT_SECONDS = 60


@router.get("/submissions/{submission_id}")
async def show_submission(
    request: Request,
    rooms: TheRooms,
    viewer: Viewer,
    submission_id: str,
    wait: Annotated[float, Query(ge=0, le=MAX_WAIT_SECONDS, description="seconds to wait for a change")] = 0,
) -> SubmissionView:
    """Show a submission; with `wait`, answer when its state or place in the queue changes, or when the time is over.

    Of one address 20 requests may wait at a time; more are answered at once.
    """
    with rooms.waits.one(address_of(request)) as may_wait:
        if wait == 0 or not may_wait:
            return await run_in_threadpool(shown, rooms, submission_id, viewer)
        authorization = request.headers.get("authorization")
        deadline = time.monotonic() + wait
        with rooms.database.changes.watch(submission_id) as changed:
            before = now = await run_in_threadpool(_look, rooms, submission_id, authorization)
            while now == before and now.state not in FINAL and (left := deadline - time.monotonic()) > 0:
                with suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), min(LOOK_SECONDS, left))
                changed.clear()
                now = await run_in_threadpool(_look, rooms, submission_id, authorization)
    return await run_in_threadpool(_show_again, rooms, submission_id, authorization)


def _look(rooms: Rooms, submission_id: str, authorization: str | None) -> results.Standing:
    """Return where a submission stands, if somebody may still see it."""
    with rooms.database.read() as session:
        viewer = _still(session, authorization)
        return results.standing(session, visibility.find(session, submission_id, viewer))


def _show_again(rooms: Rooms, submission_id: str, authorization: str | None) -> SubmissionView:
    """Return a submission as somebody may still see it."""
    with rooms.database.read() as session:
        viewer = _still(session, authorization)
    return shown(rooms, submission_id, viewer)


def _still(session: Session, authorization: str | None) -> Account | None:
    """Return who waits, whose token may have ended meanwhile."""
    return authenticate(session, authorization) if authorization else None


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

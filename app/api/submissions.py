"""Submissions: sent in one request, and watched."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from typing import Annotated

import anyio
import structlog
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from app.db.models import FINAL, Kind, State, Submission
from app.dependencies import Caller, Reading, TheRooms
from app.rooms import Rooms
from app.services import benchmarks, results, submissions
from app.services.accounts import Account
from app.services.comparison import compare
from app.services.submissions import Entry, Quotas
from app.services.views import ComparisonView, SubmissionView
from app.storage import Arrival
from ldsboard.formats import HEADER_LIMIT, parse_npy_header
from ldsboard.problems import ProblemError

router = APIRouter(tags=["submissions"])
log = structlog.get_logger()

POLL_SECONDS = 0.1
SILENCE_SECONDS = 60.0
"""How long an upload may send nothing before it is given up."""

MAX_WAIT_SECONDS = 60


@router.put(
    "/benchmarks/{name}/submissions",
    status_code=202,
    openapi_extra={"requestBody": {"required": True, "content": {"application/octet-stream": {}}}},
)
async def submit(
    request: Request,
    response: Response,
    rooms: TheRooms,
    account: Caller,
    name: str,
    method: Annotated[str, Query(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="slug of the method")],
    kind: Annotated[Kind, Query(description="ranked: listed and counted; practice: public subsets only")] = Kind.RANKED,
    title: Annotated[str, Query(max_length=200, description="free text; by default the method")] = "",
    seconds: Annotated[
        float | None, Query(ge=0, allow_inf_nan=False, description="reported cost: seconds of computing")
    ] = None,
    device: Annotated[str | None, Query(max_length=100, description="reported cost: the device")] = None,
    models: Annotated[int | None, Query(ge=0, lt=2**31, description="reported cost: models trained")] = None,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=200)] = None,
) -> SubmissionView:
    """Submit a score file: the raw body of the request is the .npy file, n x N float16, float32 or float64."""
    size = _content_length(request, rooms.settings.max_upload_bytes)
    reported = {"seconds": seconds, "device": device, "models": models}
    cost = {key: value for key, value in reported.items() if value is not None} or None
    entry = Entry(name, method, title.strip(), kind, cost, size)
    chunks = _arriving(request)
    start = b""
    try:
        while len(start) < min(HEADER_LIMIT, size):
            start += await anext(chunks)
        reserved, known = await run_in_threadpool(_reserve, rooms, account, entry, start, idempotency_key)
        if known:
            await _receive_again(rooms, reserved, start, chunks)
        else:
            await _receive(rooms, reserved, start, chunks, size)
    except (ClientDisconnect, StopAsyncIteration, TimeoutError):
        raise _interrupted(size) from None
    view = await run_in_threadpool(_view, rooms, reserved)
    response.headers["Location"] = view.links["self"]
    return view


async def _arriving(request: Request) -> AsyncIterator[bytes]:
    """Yield the body as it comes; a connection that falls silent raises TimeoutError."""
    chunks = aiter(request.stream())
    while True:
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                chunk = await anext(chunks)
        except StopAsyncIteration:
            return
        yield chunk


def _content_length(request: Request, limit: int) -> int:
    stated = request.headers.get("content-length", "")
    if not stated.isdigit():
        raise ProblemError(
            "upload.length_required",
            expected="a Content-Length header",
            got="none",
            hint="Send a file rather than a stream, for instance with curl -T scores.npy.",
        )
    if int(stated) > limit:
        raise ProblemError(
            "upload.too_large",
            expected=f"at most {limit} bytes",
            got=f"{stated} bytes",
            hint="Send float32 or float16 scores.",
        )
    return int(stated)


def _interrupted(size: int) -> ProblemError:
    return ProblemError(
        "upload.interrupted", expected=f"{size} bytes", got="a connection that ended early", hint="Send the file again."
    )


def _reserve(rooms: Rooms, account: Account, entry: Entry, start: bytes, key: str | None) -> tuple[str, bool]:
    """Check all that the first bytes tell, then make room; return the submission's id, and whether it was there before."""
    settings = rooms.settings
    route = f"PUT /benchmarks/{entry.benchmark}/submissions"
    with rooms.database.write() as session:
        version = benchmarks.find(session, entry.benchmark)
        submissions.check_header(version, parse_npy_header(start[:HEADER_LIMIT]), entry.size)
        if key is not None and (known := submissions.earlier(session, account, route, key, entry)) is not None:
            return known.id, True
        quotas = Quotas(settings.ranked_per_day, settings.ranked_per_version)
        submission = submissions.reserve(session, account, version, entry, quotas)
        if key is not None:
            submissions.remember(session, account, route, key, submission)
    rooms.prepare(entry.benchmark, version.version)
    return submission.id, False


async def _receive(rooms: Rooms, submission_id: str, start: bytes, chunks: AsyncIterator[bytes], size: int) -> None:
    """Stream the body into storage and queue its evaluation; no transaction is open meanwhile."""
    try:
        with rooms.storage.receive() as arrival:
            await run_in_threadpool(arrival.write, start)
            async for chunk in chunks:
                await run_in_threadpool(arrival.write, chunk)
            await run_in_threadpool(_accept, rooms, submission_id, arrival, size)
    except BaseException:
        # Cancellation too: whatever ended the upload, its reservation must not count.
        with anyio.CancelScope(shield=True):
            await run_in_threadpool(_expire, rooms, submission_id)
        raise
    rooms.runner.notify()


async def _receive_again(rooms: Rooms, submission_id: str, start: bytes, chunks: AsyncIterator[bytes]) -> None:
    """Read a file that should have come before, without keeping it."""
    digest = hashlib.sha256(start)
    async for chunk in chunks:
        await run_in_threadpool(digest.update, chunk)
    await run_in_threadpool(_check_repeated, rooms, submission_id, digest.hexdigest())


def _check_repeated(rooms: Rooms, submission_id: str, sha256: str) -> None:
    with rooms.database.read() as session:
        submissions.check_repeated(submissions.find(session, submission_id), sha256)


def _accept(rooms: Rooms, submission_id: str, arrival: Arrival, size: int) -> None:
    if arrival.size != size:
        raise _interrupted(size)
    sha256 = arrival.flush()
    with rooms.database.write() as session:
        submissions.accept(session, submission_id, arrival, sha256)


def _expire(rooms: Rooms, submission_id: str) -> None:
    with rooms.database.write() as session:
        submissions.move(session, submission_id, State.UPLOADING, State.EXPIRED, detail="the upload ended early")


def _view(rooms: Rooms, submission_id: str) -> SubmissionView:
    with rooms.database.read() as session:
        return results.view(session, submissions.find(session, submission_id))


@router.get("/submissions/{submission_id}")
async def show_submission(
    rooms: TheRooms,
    submission_id: str,
    wait: Annotated[float, Query(ge=0, le=MAX_WAIT_SECONDS, description="seconds to wait for a change")] = 0,
) -> SubmissionView:
    """Show a submission; with `wait`, answer when its state or place in the queue changes, or when the time is over."""
    view = await run_in_threadpool(_view, rooms, submission_id)
    before = (view.state, view.queue)
    deadline = time.monotonic() + wait
    while view.state not in FINAL and (view.state, view.queue) == before and time.monotonic() < deadline:
        await asyncio.sleep(POLL_SECONDS)
        view = await run_in_threadpool(_view, rooms, submission_id)
    return view


@router.get("/submissions/{submission_id}/per-target.npz", response_class=Response)
def download_per_target(session: Reading, submission_id: str) -> Response:
    """Download Spearman's rho of every target on the public subsets."""
    submission = submissions.find(session, submission_id)
    return Response(results.per_target_npz(session, submission), media_type="application/zip")


@router.get("/compare")
def compare_submissions(session: Reading, a: str, b: str) -> ComparisonView:
    """Compare two scored submissions to the same version: the paired difference of their LDS."""

    def of(submission_id: str) -> Submission:
        return submissions.find(session, submission_id)

    return compare(session, of(a), of(b))

"""A score file sent in one request."""

from __future__ import annotations

from typing import Annotated

import anyio
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from app.accounts.users import Account
from app.api.responses import accept_file, respond_with_submission
from app.benchmarks import catalog
from app.context import AppContext
from app.db.models import Kind, State, Submission, Version, Visibility
from app.results.schemas import SubmissionView
from app.submissions import idempotency, lifecycle
from app.submissions.field_types import Commit, Device, Link, Method, Repository, Sha256, Title
from app.submissions.lifecycle import SubmissionRequest
from app.submissions.schemas import BenchmarkName, DryRunView
from app.submissions.storage import Arrival
from app.web.dependencies import ContextDep, SubmittingUser
from app.web.request_body import Body, content_length
from ldsboard.formats import HEADER_LIMIT, open_scores
from ldsboard.problems import ProblemError
from ldsboard.scores import check_finite

router = APIRouter(tags=["uploads"])


@router.put(
    "/benchmarks/{name}/submissions",
    status_code=202,
    response_model=SubmissionView,
    responses={200: {"model": DryRunView, "description": "With dry_run: the file would be taken"}},
    openapi_extra={"requestBody": {"required": True, "content": {"application/octet-stream": {}}}},
)
async def submit(
    request: Request,
    response: Response,
    context: ContextDep,
    account: SubmittingUser,
    name: str,
    method: Annotated[Method, Query(description="slug of the method")],
    kind: Annotated[Kind, Query(description="ranked: listed and counted; practice: public subsets only")] = Kind.RANKED,
    visibility: Annotated[Visibility, Query(description="who sees it, from the first moment on")] = Visibility.PUBLIC,
    sha256: Annotated[
        Sha256 | None,
        Query(description="of the file: one that you have sent already costs no quota"),
    ] = None,
    title: Annotated[Title, Query(description="free text; by default the method")] = "",
    seconds: Annotated[
        float | None, Query(ge=0, allow_inf_nan=False, description="reported cost: seconds of computing")
    ] = None,
    device: Annotated[Device | None, Query(description="reported cost: the device")] = None,
    models: Annotated[int | None, Query(ge=0, lt=2**31, description="reported cost: models trained")] = None,
    repository: Annotated[Repository | None, Query(description="where the file comes from")] = None,
    commit: Annotated[Commit | None, Query(description="the commit that made it")] = None,
    url: Annotated[Link | None, Query(description="more on where from")] = None,
    dry_run: Annotated[bool, Query(description="only check the file; nothing is kept or counted")] = False,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=200)] = None,
) -> SubmissionView | Response:
    """Submit a score file: the raw body is a .npy, .safetensors or .npz file with one array, n x N float16, float32 or float64.

    With `dry_run` the answer is 200 and says that the file would be taken, as `ldsboard validate` does.
    """
    limit = context.settings.max_upload_bytes
    length = content_length(request, limit)
    cost = _none_if_empty(seconds=seconds, device=device, models=models)
    origin = _none_if_empty(repository=repository, commit=commit, url=url)
    with context.storage.receive() as arrival:
        body = Body(request, arrival, length, limit)
        size = None if body.encoded else length
        entry = SubmissionRequest(name, method, title, kind, cost, size, origin, visibility, sha256)
        if dry_run:
            return JSONResponse((await _dry_run(context, entry, arrival, body)).model_dump(mode="json"))
        await run_in_threadpool(_check_before_upload, context, account, entry, idempotency_key)
        await body.receive(HEADER_LIMIT)
        reserved, known = await run_in_threadpool(_reserve, context, account, entry, arrival.start, idempotency_key)
        if known:
            await body.receive()
            await run_in_threadpool(_check_same_file, context, account, entry, arrival, str(idempotency_key))
            return await run_in_threadpool(respond_with_submission, context, reserved, account, response)
        try:
            await body.receive()
            stands = await run_in_threadpool(_accept, context, account, entry, reserved, arrival, idempotency_key)
        except BaseException:
            # Cancellation too: whatever ended the upload, its reservation must not count.
            with anyio.CancelScope(shield=True):
                await run_in_threadpool(_expire, context, reserved)
            raise
        finally:
            context.streaming.discard(reserved)
    return await run_in_threadpool(respond_with_submission, context, stands, account, response)


async def _dry_run(context: AppContext, entry: SubmissionRequest, arrival: Arrival, body: Body) -> DryRunView:
    """Make all checks that need nothing hidden, on bytes that are gone with the answer."""
    version = await run_in_threadpool(_find_version, context, entry)
    await body.receive(HEADER_LIMIT)
    lifecycle.check_header(version, arrival.start, entry.size)
    await body.receive()
    return await run_in_threadpool(_check_whole_file, version, entry, arrival)


def _find_version(context: AppContext, entry: SubmissionRequest) -> Version:
    context.storage.check_free_space(entry.size or 0)
    with context.database.read() as session:
        return catalog.find_version(session, entry.benchmark)


def _check_whole_file(version: Version, entry: SubmissionRequest, arrival: Arrival) -> DryRunView:
    sha256 = arrival.flush()
    lifecycle.check_header(version, arrival.start, arrival.size)
    check_finite(open_scores(arrival.path))
    return DryRunView(
        benchmark=BenchmarkName(name=entry.benchmark, version=version.version),
        method=entry.method,
        kind=entry.kind.value,
        size=arrival.size,
        sha256=sha256,
    )


def _none_if_empty(**said: object) -> dict[str, object] | None:
    """Return what was said, if anything was."""
    return {name: value for name, value in said.items() if value is not None} or None


def _route(entry: SubmissionRequest) -> str:
    return f"PUT /benchmarks/{entry.benchmark}/submissions"


def _check_before_upload(context: AppContext, account: Account, entry: SubmissionRequest, key: str | None) -> None:
    """Check all that can be told before the first byte of the file; what is counted is counted when its header is known."""
    context.storage.check_free_space(entry.size or 0)
    with context.database.read() as session:
        version = catalog.find_version(session, entry.benchmark)
        known = idempotency.find_by_key(session, account, _route(entry), key, entry)
        if known is None:
            lifecycle.check_quota(session, account, version, entry, context.quotas)
    context.preload(entry.benchmark, version.version)


def _reserve(context: AppContext, account: Account, entry: SubmissionRequest, start: bytes, key: str | None) -> tuple[str, bool]:
    """Check all that the first bytes tell, then make room; return the submission's id, and whether it was there before."""
    with context.database.write() as session:
        version = catalog.find_version(session, entry.benchmark)
        lifecycle.check_header(version, start, entry.size)
        known = idempotency.find_by_key(session, account, _route(entry), key, entry)
        if known is not None and not _expire_interrupted(session, known):
            return known.id, True
        submission = lifecycle.reserve(session, account, version, entry, context.quotas)
        idempotency.store_key(session, account, _route(entry), key, submission)
        context.streaming.add(submission.id)  # before others can see that it is there
    return submission.id, False


def _expire_interrupted(session: Session, known: Submission) -> bool:
    """Give up an upload under the same key that still streams: its connection is lost, or the file would not come again."""
    return lifecycle.move(session, known.id, State.UPLOADING, State.EXPIRED, detail="sent again")


def _check_same_file(context: AppContext, account: Account, entry: SubmissionRequest, arrival: Arrival, key: str) -> None:
    sha256 = arrival.flush()
    with context.database.read() as session:
        idempotency.check_same_file(session, account, _route(entry), key, sha256)


def _accept(
    context: AppContext, account: Account, entry: SubmissionRequest, submission_id: str, arrival: Arrival, key: str | None
) -> str:
    sha256 = arrival.flush()
    if entry.sha256 not in (None, sha256):
        raise ProblemError.mismatch(
            "upload.hash",
            expected=f"a file with sha256 {entry.sha256}",
            got=f"a file with sha256 {sha256}",
            hint="Send the intended file, or omit 'sha256'.",
        )

    def accept(session: Session) -> str:
        stands = lifecycle.accept(session, context.storage, submission_id, arrival, sha256, context.quotas)
        idempotency.store_key(session, account, _route(entry), key, session.get_one(Submission, stands))
        return stands

    return accept_file(context, sha256, accept)


def _expire(context: AppContext, submission_id: str) -> None:
    with context.database.write() as session:
        lifecycle.move(session, submission_id, State.UPLOADING, State.EXPIRED, detail="the upload ended early")

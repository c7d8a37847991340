"""API call for single uploads: a score file is sent in one request."""

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
from app.db.models import State, Submission, Version
from app.results.schemas import SubmissionView
from app.submissions import idempotency, lifecycle
from app.submissions.fields import SubmissionQuery, SubmissionRequest
from app.submissions.schemas import BenchmarkName, DryRunView
from app.submissions.storage import Arrival
from app.web.dependencies import ContextDep, SubmittingUser
from app.web.request_body import Body, content_length
from ldsboard.arrays.scores import check_finite
from ldsboard.formats.score_files import HEADER_LIMIT, open_scores
from ldsboard.problems import ProblemError

router = APIRouter(tags=["uploads"])


@router.put(
    "/benchmarks/{name}/submissions",
    status_code=202,
    response_model=SubmissionView,
    responses={200: {"model": DryRunView, "description": "With dry_run: the file would be accepted"}},
    openapi_extra={"requestBody": {"required": True, "content": {"application/octet-stream": {}}}},
)
async def submit(
    request: Request,
    response: Response,
    context: ContextDep,
    account: SubmittingUser,
    name: str,
    query: Annotated[SubmissionQuery, Query()],
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=200)] = None,
) -> SubmissionView | Response:
    """Submit a score file.

    The raw body is a .npy, .safetensors or .npz file with one n x N array of type float16, float32 or float64.

    With `dry_run`, the response is 200 if the file would be accepted. The checks are those of `ldsboard validate`.
    """
    limit = context.settings.max_upload_bytes
    length = content_length(request, limit)
    with context.storage.receive() as arrival:
        body = Body(request, arrival, length, limit)
        size = None if body.encoded else length
        submission_request = SubmissionRequest(name, query.fields(), size, query.sha256)
        if query.dry_run:
            return JSONResponse((await _dry_run(context, submission_request, arrival, body)).model_dump(mode="json"))
        await run_in_threadpool(_check_before_upload, context, account, submission_request, idempotency_key)
        await body.receive(HEADER_LIMIT)
        reserved_id, known = await run_in_threadpool(
            _reserve, context, account, submission_request, arrival.start, idempotency_key
        )
        if known:
            await body.receive()
            await run_in_threadpool(
                _check_same_file, context, account, submission_request, arrival, str(idempotency_key)
            )
            return await run_in_threadpool(respond_with_submission, context, reserved_id, account, response)
        try:
            await body.receive()
            accepted_id = await run_in_threadpool(
                _accept, context, account, submission_request, reserved_id, arrival, idempotency_key
            )
        except BaseException:
            # After any error, cancellation included, the reserved submission must not count towards the quota.
            with anyio.CancelScope(shield=True):
                await run_in_threadpool(_expire, context, reserved_id)
            raise
        finally:
            context.streaming.discard(reserved_id)
    return await run_in_threadpool(respond_with_submission, context, accepted_id, account, response)


async def _dry_run(
    context: AppContext, submission_request: SubmissionRequest, arrival: Arrival, body: Body
) -> DryRunView:
    """Run all checks that need no ground truth. The received bytes are deleted afterwards."""
    version = await run_in_threadpool(_find_version, context, submission_request)
    await body.receive(HEADER_LIMIT)
    lifecycle.check_header(version, arrival.start, submission_request.size)
    await body.receive()
    return await run_in_threadpool(_check_whole_file, version, submission_request, arrival)


def _find_version(context: AppContext, submission_request: SubmissionRequest) -> Version:
    context.storage.check_free_space(submission_request.size or 0)
    with context.database.read() as session:
        return catalog.find_version(session, submission_request.benchmark)


def _check_whole_file(version: Version, submission_request: SubmissionRequest, arrival: Arrival) -> DryRunView:
    sha256 = arrival.flush()
    lifecycle.check_header(version, arrival.start, arrival.size)
    check_finite(open_scores(arrival.path))
    return DryRunView(
        benchmark=BenchmarkName(name=submission_request.benchmark, version=version.version),
        method=submission_request.fields.method,
        kind=submission_request.fields.kind.value,
        size=arrival.size,
        sha256=sha256,
    )


def _route(submission_request: SubmissionRequest) -> str:
    return f"PUT /benchmarks/{submission_request.benchmark}/submissions"


def _check_before_upload(
    context: AppContext, account: Account, submission_request: SubmissionRequest, key: str | None
) -> None:
    """Check everything that can be checked before the first byte of the file; quotas are counted after the header arrived."""
    context.storage.check_free_space(submission_request.size or 0)
    with context.database.read() as session:
        version = catalog.find_version(session, submission_request.benchmark)
        known = idempotency.find_by_key(session, account, _route(submission_request), key, submission_request)
        if known is None:
            lifecycle.check_quotas(session, account, version, submission_request, context.quotas)
    context.preload(submission_request.benchmark, version.version)


def _reserve(
    context: AppContext, account: Account, submission_request: SubmissionRequest, start: bytes, key: str | None
) -> tuple[str, bool]:
    """Check the header of the file, then reserve a submission.

    Returns
    -------
    str
        The id of the submission.
    bool
        Whether an earlier call with the same idempotency key created it.
    """
    with context.database.write() as session:
        version = catalog.find_version(session, submission_request.benchmark)
        lifecycle.check_header(version, start, submission_request.size)
        known = idempotency.find_by_key(session, account, _route(submission_request), key, submission_request)
        if known is not None and not _expire_replaced(session, known):
            return known.id, True
        submission = lifecycle.reserve(session, account, version, submission_request, context.quotas)
        idempotency.store_key(session, account, _route(submission_request), key, submission)
        context.streaming.add(submission.id)  # before the commit, or recovery could expire the submission
    return submission.id, False


def _expire_replaced(session: Session, known: Submission) -> bool:
    """Expire an unfinished upload with the same key; return whether it was unfinished.

    A client sends a file again only after it has lost the first connection.
    """
    return lifecycle.transition(session, known.id, State.UPLOADING, State.EXPIRED, detail="replaced by a retry")


def _check_same_file(
    context: AppContext, account: Account, submission_request: SubmissionRequest, arrival: Arrival, key: str
) -> None:
    sha256 = arrival.flush()
    with context.database.read() as session:
        idempotency.check_same_file(session, account, _route(submission_request), key, sha256)


def _accept(
    context: AppContext,
    account: Account,
    submission_request: SubmissionRequest,
    submission_id: str,
    arrival: Arrival,
    key: str | None,
) -> str:
    sha256 = arrival.flush()
    if submission_request.sha256 not in (None, sha256):
        raise ProblemError.mismatch(
            "upload.hash",
            expected=f"a file with sha256 {submission_request.sha256}",
            got=f"a file with sha256 {sha256}",
            hint="Send the intended file, or omit 'sha256'.",
        )

    def accept(session: Session) -> str:
        accepted_id = lifecycle.accept(session, context.storage, submission_id, arrival, sha256, context.quotas)
        idempotency.store_key(
            session, account, _route(submission_request), key, session.get_one(Submission, accepted_id)
        )
        return accepted_id

    return accept_file(context, sha256, accept)


def _expire(context: AppContext, submission_id: str) -> None:
    with context.database.write() as session:
        lifecycle.transition(session, submission_id, State.UPLOADING, State.EXPIRED, detail="the upload ended early")

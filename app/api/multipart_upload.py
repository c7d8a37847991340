"""API calls for multipart uploads: a score file is sent in upload parts, in any order, and each part can be retried."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from pydantic import Field, ValidationError

from app.accounts import tokens, users
from app.api.received_parts import PartNumber, UploadId, admit_part, check_start
from app.api.responses import accept_file, respond_with_submission
from app.benchmarks import catalog
from app.context import AppContext
from app.db.uploads import Upload
from app.errors import BusyError
from app.results.schemas import SubmissionView
from app.submissions import idempotency, joining, lifecycle, multipart
from app.submissions.arrivals import Arrival
from app.submissions.field_types import Sha256
from app.submissions.fields import SubmissionRequest
from app.submissions.schemas import PartView, StartedView, UploadView
from app.submissions.visibility import WITHHELD
from app.web.body_limit import LIMIT_BYTES
from app.web.dependencies import Authorization, ContextDep, ReadSession, SubmittingUser
from app.web.open_bodies import OpenBodies
from app.web.request_body import Body, check_limit, content_length, is_compressed, read_body

router = APIRouter(tags=["uploads"])
log = structlog.get_logger()
WITHHELD_RESULTS: dict[str, Any] = {
    "hidden": None,
    "public": None,
    "reserve": None,
    "replicates": None,
    "counterfactual": None,
    "scorer_version": None,
    "warnings": [],
    "error": None,
    "suspension": None,
}
WITHHELD_TEXTS: dict[str, Any] = {"title": WITHHELD, "description": "", "tags": [], "urls": {}}
WITHHELD_DETAILS = WITHHELD_TEXTS | {
    "cost": None,
    "provenance": None,
    "attempts": None,
    "uses_subsets": False,
    "replicate_of": None,
    "pinned": False,
}
UPLOAD_FIELDS = frozenset(
    {"id", "state", "benchmark", "owner", "method", "kind", "visibility", "created_at"}
    | {"queue", "progress", "notice", "file_sha256", "links"}
)
"""Fields of a submission that a caller with only the upload token sees, also those of an earlier submission of the same file."""


class NewUpload(SubmissionRequest):
    """A file to be sent in upload parts: its benchmark, size and hash, and the metadata of the submission."""

    size: int = Field(ge=0, lt=2**63, description="size of the file in bytes")
    sha256: Sha256 = Field(description="SHA-256 of the file")


def _inlined_schema() -> Any:
    """Return the JSON schema of `NewUpload` with inlined definitions.

    References would not work, because ``openapi_extra`` cannot add definitions to the components of the OpenAPI description.
    """
    schema = NewUpload.model_json_schema()
    definitions = schema.pop("$defs")

    def inline(node: Any) -> Any:
        if isinstance(node, list):
            return [inline(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            node = definitions[node["$ref"].rpartition("/")[2]] | node
        return {name: inline(value) for name, value in node.items() if name != "$ref"}

    return inline(schema)


async def _read_new_upload(request: Request) -> NewUpload:
    body = await read_body(request, LIMIT_BYTES)
    try:
        return NewUpload.model_validate_json(body)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False)) from None


@router.post(
    "/submissions",
    status_code=201,
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": _inlined_schema()}}}},
)
def start_upload(
    response: Response,
    context: ContextDep,
    account: SubmittingUser,
    announced: Annotated[NewUpload, Depends(_read_new_upload)],
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=200)] = None,
) -> StartedView:
    """Start a multipart upload.

    The response lists the upload parts with their addresses, and contains the upload token (`capability`) for sending them. If
    the call is repeated with its idempotency key, the response has a new upload token, and the earlier one becomes invalid.
    """
    account.require_method(announced.method)
    settings = context.settings
    key = idempotency.Key(account.id, "POST /submissions", idempotency_key) if idempotency_key else None
    check_limit(announced.size, settings.max_upload_bytes)
    # Twice the size: once for the parts, once for the joined file.
    context.storage.check_free_space(2 * announced.size)
    with context.database.write() as session:
        if account.verified_origin is not None:
            # The user may have ended the trust in the CI workflow meanwhile.
            tokens.find_token(session, account.token_id)
        version = catalog.find_open_version(session, announced.benchmark)
        if announced.size == 0:
            lifecycle.check_header(version, b"", 0)
        known = idempotency.find_by_key(session, key, announced)
        if known is not None:
            upload = session.get_one(Upload, known.id)
            if upload.sha256 != announced.sha256:
                raise idempotency.key_conflict("another file of the same size")
            upload_token = multipart.renew_token(session, upload)
        else:
            submission = lifecycle.reserve(
                session, account.id, version, announced, context.quotas, account.verified_origin
            )
            idempotency.store_key(session, key, submission)
            lifetime = timedelta(seconds=settings.upload_seconds)
            upload_token = multipart.open_upload(session, submission, announced.sha256, settings.part_bytes, lifetime)
            upload = session.get_one(Upload, submission.id)
        view = StartedView(
            **multipart.upload_view(upload, direct=context.storage.takes_parts).model_dump(), capability=upload_token
        )
    context.preload(announced.benchmark, version.version)
    response.headers["Location"] = view.links["self"]
    return view


@router.get("/submissions/{submission_id}/parts")
def show_parts(
    context: ContextDep, session: ReadSession, submission_id: UploadId, authorization: Authorization
) -> UploadView:
    """Show a multipart upload: which parts have arrived, and where to send the other parts."""
    upload, _ = multipart.authorize(session, submission_id, authorization)
    return multipart.upload_view(upload, direct=context.storage.takes_parts)


@router.delete("/submissions/{submission_id}/parts", status_code=204)
def cancel_upload(context: ContextDep, submission_id: UploadId, authorization: Authorization) -> None:
    """Cancel a multipart upload that is not completed, and delete its parts.

    A cancelled upload still counts towards the daily quota of uploads, and towards no other quota.
    """
    with context.database.write() as session:
        upload, _ = multipart.authorize(session, submission_id, authorization)
        multipart.check_open(upload)
        multipart.cancel(session, submission_id, "cancelled by its sender")
    context.storage.delete_parts(submission_id)


@router.put(
    "/submissions/{submission_id}/parts/{number}",
    openapi_extra={"requestBody": {"required": True, "content": {"application/octet-stream": {}}}},
)
async def send_part(
    request: Request,
    context: ContextDep,
    submission_id: UploadId,
    number: PartNumber,
    authorization: Authorization,
) -> PartView:
    """Send an upload part as raw bytes. A part that is sent again replaces the earlier one.

    If part 0 shows that the file cannot be scored, the upload is cancelled.
    """
    upload = await run_in_threadpool(admit_part, context, submission_id, number, authorization)
    size = upload.part_size(number)
    # Compression makes incompressible bytes slightly longer.
    length = content_length(request, size + size // 64 + 1024)
    bodies: OpenBodies = request.app.state.open_bodies
    async with bodies.slot(upload.submission.user_id, compressed=is_compressed(request)):
        with context.storage.receive() as arrival:
            body = Body(request, arrival, length, size, bodies)
            if not body.encoded:
                multipart.check_part_size(upload, number, length)
            await body.receive()
            return await run_in_threadpool(_receive_part, context, upload, number, arrival)


def _receive_part(context: AppContext, admitted: Upload, number: int, arrival: Arrival) -> PartView:
    arrival.flush()
    multipart.check_part_size(admitted, number, arrival.size)
    if number == 0:
        check_start(context, admitted, arrival.start)
    context.storage.send_part(admitted.submission_id, number, arrival)
    with context.database.write() as session:
        upload = multipart.find_upload(session, admitted.submission_id)
        return multipart.receive_part(session, context.storage, upload, number, arrival)


@router.post("/submissions/{submission_id}/complete", status_code=202)
def complete_upload(
    response: Response, context: ContextDep, submission_id: UploadId, authorization: Authorization
) -> SubmissionView:
    """Complete a multipart upload: join its parts, compare the file with the announced SHA-256, and queue its evaluation.

    If you have sent the same file before, the response shows the earlier submission, and nothing is queued. With the upload
    token, the response shows no results.
    """
    with context.database.read() as session:
        upload, account = multipart.authorize(session, submission_id, authorization)
        finished_id = multipart.result_id(upload)
        if finished_id is None:
            multipart.check_open(upload)
            joining.check_complete(upload)
        owner = users.read_only_account(upload.submission.user)
    if finished_id is not None or account is not None:
        return respond_with_submission(context, finished_id or _complete(context, upload), account, response)
    # A caller with only the upload token sees what was announced, but no results. If the file is a duplicate of an earlier
    # submission, its title, description and other details are withheld too.
    accepted_id = _complete(context, upload)
    view = respond_with_submission(context, accepted_id, owner, response)
    withheld = WITHHELD_RESULTS if accepted_id == submission_id else WITHHELD_RESULTS | WITHHELD_DETAILS
    return view.model_copy(update=withheld)


def _complete(context: AppContext, upload: Upload) -> str:
    submission_id, storage = upload.submission_id, context.storage
    storage.check_free_space(upload.submission.size)
    with storage.receive() as arrival:
        try:
            joining.join(storage, upload, arrival)
        except FileNotFoundError:
            return _find_result(context, upload)
        arrival.flush()
        with accept_file(context, arrival) as session:
            upload = multipart.find_upload(session, submission_id)
            accepted_id = multipart.finish(session, storage, upload, arrival, context.quotas)
    storage.delete_parts(submission_id)
    log.info("submission.accepted" if accepted_id == submission_id else "submission.repeated", submission=accepted_id)
    return accepted_id


def _find_result(context: AppContext, upload: Upload) -> str:
    """Return the resulting submission of an upload of which a part is missing: a simultaneous call has completed the upload.

    Otherwise raise why the file cannot be joined. Upload parts that the storage has lost count as missing from now on.
    """
    lost = joining.find_lost(context.storage, upload)
    with context.database.write() as session:
        upload = multipart.find_upload(session, upload.submission_id)
        if (finished_id := multipart.result_id(upload)) is not None:
            return finished_id
        multipart.check_open(upload)
        joining.forget(session, lost)
    with context.database.read() as session:
        joining.check_complete(multipart.find_upload(session, upload.submission_id))
    raise BusyError("An upload part was sent again while the parts were joined.")

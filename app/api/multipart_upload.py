"""API calls for multipart uploads: a score file is sent in upload parts, in any order, and each part can be retried."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from pydantic import Field, ValidationError
from sqlalchemy.orm import Session

from app.accounts import users
from app.accounts.users import Account
from app.api.responses import accept_file, respond_with_submission
from app.benchmarks import catalog
from app.context import AppContext
from app.db.uploads import Upload
from app.results.schemas import SubmissionView
from app.submissions import idempotency, lifecycle, multipart
from app.submissions.field_types import Sha256
from app.submissions.fields import SubmissionFields, SubmissionRequest
from app.submissions.schemas import PartView, StartedView, UploadView
from app.submissions.storage import Arrival
from app.submissions.visibility import WITHHELD
from app.web.dependencies import Authorization, ContextDep, SubmittingUser
from app.web.request_body import Body, check_limit, content_length, read_body
from ldsboard.problems import ProblemError

router = APIRouter(tags=["uploads"])
ROUTE = "POST /submissions"
MAX_START_BYTES = 64 * 1024
WITHHELD_RESULTS: dict[str, Any] = {"hidden": None, "public": None, "warnings": [], "error": None}
WITHHELD_DETAILS: dict[str, Any] = {
    "title": WITHHELD,
    "description": "",
    "tags": [],
    "urls": {},
    "cost": None,
    "provenance": None,
    "attempts": None,
}

UploadId = Annotated[str, Path(description="id from the response to the call that started the upload")]


class NewUpload(SubmissionFields):
    """A file to be sent in upload parts: its benchmark, size and hash, and the metadata of the submission."""

    benchmark: str
    size: int = Field(ge=0, lt=2**63, description="size of the file in bytes")
    sha256: Sha256 = Field(description="SHA-256 of the file")


def _inlined_schema() -> Any:
    """Return the JSON schema of `NewUpload` with inlined definitions.

    References would not work, because ``openapi_extra`` cannot add definitions to the components of the OpenAPI description.
    """
    schema = NewUpload.model_json_schema()
    definitions = schema.pop("$defs")

    def inlined(node: Any) -> Any:
        if isinstance(node, list):
            return [inlined(item) for item in node]
        if not isinstance(node, dict):
            return node
        definition = definitions[node["$ref"].rpartition("/")[2]] if "$ref" in node else {}
        return {name: inlined(value) for name, value in (definition | node).items() if name != "$ref"}

    return inlined(schema)


@router.post(
    "/submissions",
    status_code=201,
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": _inlined_schema()}}}},
)
async def start_upload(
    request: Request,
    response: Response,
    context: ContextDep,
    account: SubmittingUser,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=200)] = None,
) -> StartedView:
    """Start a multipart upload.

    The response lists the upload parts with their addresses, and contains the upload token (`capability`) for sending them.
    """
    announced = await _read_new_upload(request)
    view = await run_in_threadpool(_start, context, account, announced, idempotency_key)
    response.headers["Location"] = view.links["self"]
    return view


async def _read_new_upload(request: Request) -> NewUpload:
    body = await read_body(request, MAX_START_BYTES)
    try:
        return NewUpload.model_validate_json(body)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False)) from None


def _start(context: AppContext, account: Account, announced: NewUpload, key: str | None) -> StartedView:
    submission_request = SubmissionRequest(announced.benchmark, announced, announced.size, announced.sha256)
    check_limit(announced.size, context.settings.max_upload_bytes)
    # Twice the size: once for the parts, once for the joined file.
    context.storage.check_free_space(2 * announced.size)
    with context.database.write() as session:
        version = catalog.find_version(session, submission_request.benchmark)
        if announced.size == 0:
            lifecycle.check_header(version, b"", 0)
        known = idempotency.find_by_key(session, account, ROUTE, key, submission_request)
        if known is not None:
            upload = session.get_one(Upload, known.id)
            if upload.sha256 != announced.sha256:
                raise idempotency.key_conflict("another file of the same size")
            upload_token = multipart.renew_token(session, upload)
        else:
            submission = lifecycle.reserve(session, account, version, submission_request, context.quotas)
            idempotency.store_key(session, account, ROUTE, key, submission)
            lifetime = timedelta(seconds=context.settings.upload_seconds)
            part_bytes = context.settings.part_bytes
            upload_token = multipart.open_upload(session, submission, announced.sha256, part_bytes, lifetime)
            upload = session.get_one(Upload, submission.id)
        view = StartedView(**multipart.upload_view(session, upload).model_dump(), capability=upload_token)
    context.preload(submission_request.benchmark, version.version)
    return view


@router.get("/submissions/{submission_id}/parts")
def show_parts(context: ContextDep, submission_id: UploadId, authorization: Authorization) -> UploadView:
    """Show a multipart upload: which parts have arrived, and where to send the other parts."""
    with context.database.read() as session:
        upload, _ = multipart.authorize(session, submission_id, authorization)
        return multipart.upload_view(session, upload)


@router.delete("/submissions/{submission_id}/parts", status_code=204)
def cancel_upload(context: ContextDep, submission_id: UploadId, authorization: Authorization) -> None:
    """Cancel a multipart upload that is not completed. Its parts are deleted at once, and it does not count towards any quota."""
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
    number: Annotated[int, Path(ge=0, lt=2**31, description="number of the part, starting at 0")],
    authorization: Authorization,
) -> PartView:
    """Send an upload part as raw bytes. A part that is sent again replaces the earlier one."""
    size = await run_in_threadpool(_admit_part, context, submission_id, number, authorization)
    # Compression makes incompressible bytes slightly longer.
    length = content_length(request, size + size // 64 + 1024)
    with context.storage.receive() as arrival:
        body = Body(request, arrival, length, size)
        if not body.encoded:
            multipart.check_part_size(number, size, length)
        await body.receive()
        return await run_in_threadpool(_receive_part, context, submission_id, number, arrival)


def _admit_part(context: AppContext, submission_id: str, number: int, authorization: str | None) -> int:
    """Check everything that can be checked before the first byte of a part; return the expected size of the part in bytes."""
    with context.database.read() as session:
        upload, _ = multipart.authorize(session, submission_id, authorization)
        multipart.check_open(upload)
        multipart.check_part(upload, number)
        size = upload.part_size(number)
    context.storage.check_free_space(size)
    return size


def _receive_part(context: AppContext, submission_id: str, number: int, arrival: Arrival) -> PartView:
    sha256 = arrival.flush()
    with context.database.read() as session:
        upload = session.get_one(Upload, submission_id)
        multipart.check_part_size(number, upload.part_size(number), arrival.size)
        version, size = upload.submission.version, upload.submission.size
    if number == 0:
        try:
            lifecycle.check_header(version, arrival.start, size)
        except ProblemError as error:
            # The first part shows that the file cannot be scored, whatever the other parts contain.
            _cancel(context, submission_id, error.problem.code)
            raise
    with context.database.write() as session:
        upload = session.get_one(Upload, submission_id)
        multipart.receive_part(session, context.storage, upload, number, arrival, sha256)
        return multipart.upload_view(session, upload).parts[number]


def _cancel(context: AppContext, submission_id: str, detail: str) -> None:
    with context.database.write() as session:
        multipart.cancel(session, submission_id, detail)
    context.storage.delete_parts(submission_id)


@router.post("/submissions/{submission_id}/complete", status_code=202)
def complete_upload(
    response: Response, context: ContextDep, submission_id: UploadId, authorization: Authorization
) -> SubmissionView:
    """Complete a multipart upload: join its parts, compare the file with the announced SHA-256, and queue its evaluation."""
    with context.database.read() as session:
        upload, account = multipart.authorize(session, submission_id, authorization)
        finished_id = multipart.result_id(upload)
        if finished_id is None:
            multipart.check_open(upload)
            multipart.check_complete(session, upload)
            size, count = upload.submission.size, upload.part_count
        owner = users.read_only_account(upload.submission.user)
    if finished_id is not None or account is not None:
        return respond_with_submission(
            context, finished_id or _complete(context, submission_id, size, count), account, response
        )
    # A caller with only the upload token sees what was announced, but no results. If the file is a duplicate of an earlier
    # submission, its title, description and other details are withheld too.
    accepted_id = _complete(context, submission_id, size, count)
    view = respond_with_submission(context, accepted_id, owner, response)
    return view.model_copy(
        update=WITHHELD_RESULTS if accepted_id == submission_id else WITHHELD_RESULTS | WITHHELD_DETAILS
    )


def _complete(context: AppContext, submission_id: str, size: int, count: int) -> str:
    context.storage.check_free_space(size)
    with context.storage.receive() as arrival:
        try:
            for chunk in context.storage.join(submission_id, count):
                arrival.write(chunk)
        except FileNotFoundError:
            # The parts are deleted already: a simultaneous call completed the upload, or the upload expired.
            with context.database.read() as session:
                upload = session.get_one(Upload, submission_id)
                if (finished_id := multipart.result_id(upload)) is None:
                    multipart.check_open(upload)
                    raise
                return finished_id
        sha256 = arrival.flush()

        def finish(session: Session) -> str:
            upload = session.get_one(Upload, submission_id)
            multipart.check_sha256(upload, sha256)
            return multipart.finish(session, context.storage, upload, arrival, sha256, context.quotas)

        accepted_id = accept_file(context, sha256, finish)
    context.storage.delete_parts(submission_id)
    return accepted_id

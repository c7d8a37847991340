"""A score file sent in parts, in any order, each retried alone."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.orm import Session

from app.accounts import users
from app.accounts.users import Account
from app.api.responses import accept_file, respond_with_submission
from app.benchmarks import catalog
from app.context import AppContext
from app.db.models import Kind, Visibility
from app.db.uploads import Upload
from app.results.schemas import SubmissionView
from app.submissions import idempotency, lifecycle, multipart
from app.submissions.field_types import Commit, Description, Device, Link, Method, Repository, Sha256, Tags, Title
from app.submissions.lifecycle import SubmissionRequest
from app.submissions.schemas import PartView, StartedView, UploadView
from app.submissions.storage import Arrival
from app.submissions.visibility import WITHHELD
from app.web.dependencies import Authorization, ContextDep, SubmittingUser
from app.web.request_body import IDLE_TIMEOUT_SECONDS, Body, check_limit, content_length, interrupted
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

UploadId = Annotated[str, Path(description="id that the start answered with")]


class Cost(BaseModel):
    """What a submitter says a method cost."""

    model_config = ConfigDict(extra="forbid")
    seconds: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    device: Device | None = None
    models: int | None = Field(default=None, ge=0, lt=2**31)


class Origin(BaseModel):
    """Where a file says that it comes from."""

    model_config = ConfigDict(extra="forbid")
    repository: Repository | None = None
    commit: Commit | None = None
    url: Link | None = None


class NewUpload(BaseModel):
    """What a caller says of the file that will come in parts."""

    model_config = ConfigDict(extra="forbid")
    benchmark: str
    method: Method
    kind: Kind = Kind.RANKED
    visibility: Visibility = Visibility.PUBLIC
    title: Title = ""
    description: Description = ""
    tags: Tags = []
    cost: Cost | None = None
    size: int = Field(ge=0, lt=2**63)
    sha256: Sha256
    provenance: Origin | None = None

    def entry(self) -> SubmissionRequest:
        """Return the same as services take it."""
        said = self.model_dump(exclude_none=True)
        cost, origin = said.get("cost") or None, said.get("provenance") or None
        return SubmissionRequest(
            self.benchmark,
            self.method,
            self.title,
            self.kind,
            cost,
            self.size,
            origin,
            self.visibility,
            self.sha256,
            self.description,
            self.tags,
        )


def _inlined_schema() -> Any:
    """Return the schema of what is announced, whole: the description of the API has no place for its definitions."""
    schema = NewUpload.model_json_schema()
    definitions = schema.pop("$defs")

    def whole(node: Any) -> Any:
        if isinstance(node, list):
            return [whole(item) for item in node]
        if not isinstance(node, dict):
            return node
        referred = definitions[node["$ref"].rpartition("/")[2]] if "$ref" in node else {}
        return {name: whole(value) for name, value in (referred | node).items() if name != "$ref"}

    return whole(schema)


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
    """Announce a file that will come in parts; the answer says where to send each, and with which capability."""
    announced = await _read_new_upload(request)
    view = await run_in_threadpool(_start, context, account, announced, idempotency_key)
    response.headers["Location"] = view.links["self"]
    return view


async def _read_new_upload(request: Request) -> NewUpload:
    # Read here rather than by the framework, which would read any body whole before it looks at the token.
    length = content_length(request, MAX_START_BYTES)
    try:
        async with asyncio.timeout(IDLE_TIMEOUT_SECONDS):
            body = await request.body()
    except TimeoutError:
        raise interrupted(length) from None
    try:
        return NewUpload.model_validate_json(body)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False)) from None


def _start(context: AppContext, account: Account, announced: NewUpload, key: str | None) -> StartedView:
    entry = announced.entry()
    check_limit(announced.size, context.settings.max_upload_bytes)
    # The parts, and the file that they are joined to.
    context.storage.check_free_space(2 * announced.size)
    with context.database.write() as session:
        version = catalog.find_version(session, entry.benchmark)
        if announced.size == 0:
            lifecycle.check_header(version, b"", 0)
        known = idempotency.find_by_key(session, account, ROUTE, key, entry)
        if known is not None:
            upload = session.get_one(Upload, known.id)
            if upload.sha256 != announced.sha256:
                raise idempotency.key_conflict("another file of the same size")
            capability = multipart.renew_token(session, upload)
        else:
            submission = lifecycle.reserve(session, account, version, entry, context.quotas)
            idempotency.store_key(session, account, ROUTE, key, submission)
            lifetime = timedelta(seconds=context.settings.upload_seconds)
            part_bytes = context.settings.part_bytes
            capability = multipart.open_upload(session, submission, announced.sha256, part_bytes, lifetime)
            upload = session.get_one(Upload, submission.id)
        view = StartedView(**multipart.upload_view(session, upload).model_dump(), capability=capability)
    context.preload(entry.benchmark, version.version)
    return view


@router.get("/submissions/{submission_id}/parts")
def show_parts(context: ContextDep, submission_id: UploadId, authorization: Authorization) -> UploadView:
    """List the parts of an upload: which have arrived, and where to send the others."""
    with context.database.read() as session:
        upload, _ = multipart.authorize(session, submission_id, authorization)
        return multipart.upload_view(session, upload)


@router.delete("/submissions/{submission_id}/parts", status_code=204)
def cancel_upload(context: ContextDep, submission_id: UploadId, authorization: Authorization) -> None:
    """Give an upload up that waits for parts: what has arrived is gone at once, and it counts for nothing."""
    with context.database.write() as session:
        upload, _ = multipart.authorize(session, submission_id, authorization)
        multipart.check_open(upload)
        multipart.cancel(session, submission_id, "given up by its sender")
    context.storage.delete_parts(submission_id)


@router.put(
    "/submissions/{submission_id}/parts/{number}",
    openapi_extra={"requestBody": {"required": True, "content": {"application/octet-stream": {}}}},
)
async def send_part(
    request: Request,
    context: ContextDep,
    submission_id: UploadId,
    number: Annotated[int, Path(ge=0, lt=2**31, description="number of the part, from 0")],
    authorization: Authorization,
) -> PartView:
    """Send a part: the raw body is its bytes. One that is sent again takes the place of the first."""
    size = await run_in_threadpool(_admit_part, context, submission_id, number, authorization)
    # Bytes that cannot be compressed become a little more.
    length = content_length(request, size + size // 64 + 1024)
    with context.storage.receive() as arrival:
        body = Body(request, arrival, length, size)
        if not body.encoded:
            multipart.check_part_size(number, size, length)
        await body.receive()
        return await run_in_threadpool(_receive_part, context, submission_id, number, arrival)


def _admit_part(context: AppContext, submission_id: str, number: int, authorization: str | None) -> int:
    """Check all that can be told before the first byte of a part; return the bytes that it should have."""
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
            # No other part could save this file.
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
    """Join the parts, check that they are the file that was announced, and queue its evaluation."""
    with context.database.read() as session:
        upload, account = multipart.authorize(session, submission_id, authorization)
        done = multipart.result_id(upload)
        if done is None:
            multipart.check_open(upload)
            multipart.check_complete(session, upload)
            size, count = upload.submission.size, upload.part_count
        owner = users.read_only_account(upload.submission.user)
    if done is not None or account is not None:
        return respond_with_submission(context, done or _complete(context, submission_id, size, count), account, response)
    # Whoever ends it by its capability is told what was announced, and nothing of results; of a file that was there before, not
    # what its owner says of it either.
    stands = _complete(context, submission_id, size, count)
    view = respond_with_submission(context, stands, owner, response)
    return view.model_copy(update=WITHHELD_RESULTS if stands == submission_id else WITHHELD_RESULTS | WITHHELD_DETAILS)


def _complete(context: AppContext, submission_id: str, size: int, count: int) -> str:
    context.storage.check_free_space(size)
    with context.storage.receive() as arrival:
        try:
            for chunk in context.storage.join(submission_id, count):
                arrival.write(chunk)
        except FileNotFoundError:
            # The same call came twice, or the time ended: the parts are gone, and the row tells why.
            with context.database.read() as session:
                upload = session.get_one(Upload, submission_id)
                if (done := multipart.result_id(upload)) is None:
                    multipart.check_open(upload)
                    raise
                return done
        sha256 = arrival.flush()

        def finish(session: Session) -> str:
            upload = session.get_one(Upload, submission_id)
            multipart.check_sha256(upload, sha256)
            return multipart.finish(session, context.storage, upload, arrival, sha256, context.quotas)

        stands = accept_file(context, sha256, finish)
    context.storage.delete_parts(submission_id)
    return stands

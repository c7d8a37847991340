"""Calls for upload parts that clients send straight to the store of the server."""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from app.api.received_parts import PartNumber, UploadId, admit_part, check_start
from app.context import AppContext
from app.db.base import now
from app.submissions import multipart
from app.submissions.field_types import Sha256
from app.submissions.schemas import PartAddress, PartView
from app.submissions.storage import URL_SECONDS
from app.web.dependencies import Authorization, ContextDep
from ldsboard.formats.score_files import HEADER_LIMIT
from ldsboard.problems import ProblemError

router = APIRouter(tags=["uploads"])


class PartHash(BaseModel):
    """The hash of an upload part."""

    model_config = ConfigDict(extra="forbid", strict=True)

    sha256: Sha256 = Field(description="SHA-256 of the upload part")


@router.post("/submissions/{submission_id}/parts/{number}/address")
def address_part(
    context: ContextDep, submission_id: UploadId, number: PartNumber, part: PartHash, authorization: Authorization
) -> PartAddress:
    """Return the address in the store to which to send an upload part with PUT, without a token.

    The address is valid for a quarter of an hour; ask again after an answer 403 of the store. A header ``Content-MD5`` makes the
    store check the bytes. State afterwards that the part has arrived: `POST …/arrived`.
    """
    _check_direct(context)
    upload = admit_part(context, submission_id, number, authorization)
    expires_at = now() + timedelta(seconds=URL_SECONDS)
    url = context.storage.part_url(upload.submission_id, number, part.sha256)
    return PartAddress(url=url, expires_at=expires_at)


@router.post("/submissions/{submission_id}/parts/{number}/arrived")
def confirm_part(
    context: ContextDep, submission_id: UploadId, number: PartNumber, part: PartHash, authorization: Authorization
) -> PartView:
    """State that an upload part has arrived in the store; its size is checked now, and the hash of the file at completion.

    If part 0 shows that the file cannot be scored, the upload is cancelled.
    """
    _check_direct(context)
    upload = admit_part(context, submission_id, number, authorization)
    storage, key = context.storage, context.storage.part_key(upload.submission_id, number, part.sha256)
    try:
        start = next(storage.read(key), b"") if number == 0 else b""
        size = storage.size(key)
    except FileNotFoundError:
        size = None
    if size is None:
        raise ProblemError.mismatch(
            "upload.part",
            expected=f"upload part {number} in the store",
            got="nothing at its address",
            hint="Send the part to the address that POST …/address returns for the same sha256, then repeat this call.",
        )
    multipart.check_part_size(upload, number, size)
    if number == 0:
        check_start(context, upload, start[:HEADER_LIMIT])
    with context.database.write() as session:
        found = multipart.find_upload(session, upload.submission_id)
        return multipart.note_part(session, found, number, part.sha256)


def _check_direct(context: AppContext) -> None:
    if not context.storage.takes_parts:
        raise ProblemError(
            "request.conflict",
            "Upload parts go through this server.",
            "Send each upload part to the 'url' that GET …/parts lists for it.",
        )

"""What the calls share that receive upload parts, through the server or in its store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import Path

from app.db.models import Version
from app.submissions import lifecycle, multipart
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from app.context import AppContext
    from app.db.uploads import Upload

UploadId = Annotated[str, Path(description="id from the response to the call that started the upload")]

PartNumber = Annotated[int, Path(ge=0, lt=2**31, description="number of the part, starting at 0")]


def admit_part(context: AppContext, submission_id: str, number: int, authorization: str | None) -> Upload:
    """Check access, upload state, part number and disk space before a part arrives; return the upload of the part."""
    with context.database.read() as session:
        upload, _ = multipart.authorize(session, submission_id, authorization)
        multipart.check_open(upload)
        multipart.check_part(upload, number)
    context.storage.check_free_space(upload.part_size(number))
    return upload


def check_start(context: AppContext, admitted: Upload, start: bytes) -> None:
    """Check the first bytes of part 0, at least as many as `HEADER_LIMIT` if the part has them.

    Raises
    ------
    ProblemError
        The file cannot be scored, whatever the other upload parts contain. The upload is cancelled.
    """
    with context.database.read() as session:
        version = session.get_one(Version, admitted.submission.version_id)
    try:
        lifecycle.check_header(version, start, admitted.submission.size)
    except ProblemError as error:
        with context.database.write() as session:
            multipart.cancel(session, admitted.submission_id, error.problem.code)
        context.storage.delete_parts(admitted.submission_id)
        raise

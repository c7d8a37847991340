"""Multipart uploads: start, receive upload parts in any order, complete, cancel and expire; `joining` joins the parts."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from app.accounts import users
from app.accounts.standing import check_standing
from app.accounts.tokens import UPLOAD_TOKEN_PREFIX, digest
from app.benchmarks.catalog import check_not_retired
from app.db.accounts import Scope
from app.db.base import now
from app.db.models import State, Submission, Version
from app.db.uploads import Upload, UploadPart
from app.submissions import lifecycle
from app.submissions.schemas import PartView, UploadView
from app.submissions.visibility import is_restricted
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from datetime import timedelta

    from sqlalchemy import Select
    from sqlalchemy.orm import Session

    from app.accounts.quotas import Quotas
    from app.accounts.users import Account
    from app.submissions.arrivals import Arrival
    from app.submissions.storage import Storage

API = "/api/v1"


def open_upload(session: Session, submission: Submission, sha256: str, part_bytes: int, lifetime: timedelta) -> str:
    """Open a multipart upload for a submission; return the upload token, of which only the hash is stored."""
    upload = Upload(submission=submission, sha256=sha256, part_bytes=part_bytes, expires_at=now() + lifetime)
    return renew_token(session, upload)


def renew_token(session: Session, upload: Upload) -> str:
    """Replace the upload token of an upload, because the caller can have lost the earlier token; return the new token."""
    upload_token = UPLOAD_TOKEN_PREFIX + secrets.token_urlsafe(32)
    upload.digest = digest(upload_token)
    session.add(upload)
    session.flush()
    return upload_token


def authorize(session: Session, submission_id: str, authorization: str | None) -> tuple[Upload, Account | None]:
    """Authorize access to an upload: return (upload, account) for the owner's token, (upload, None) for the upload token.

    Once the file has arrived, an upload token gives no access if the resulting submission is restricted, because somebody other
    than the owner can hold the upload token.

    Raises
    ------
    ProblemError
        ``submission.unknown``: the upload does not exist, belongs to another user, or led to a restricted submission to which
        the upload token gives no access.
        ``upload.expired``: the upload token has expired.
        ``auth.scope``: the owner's token lacks the scope `Scope.SUBMIT`.
        ``auth.method``: the owner's token is for another method.
        Also the errors of `check_standing` and `app.accounts.users.authenticate`.
    """
    upload = session.get(Upload, submission_id)
    _, _, value = (authorization or "").partition(" ")
    if upload is not None and upload.digest == digest(value.strip()):
        if upload.expires_at <= now():
            raise _expired(upload)
        check_standing(upload.submission.user)
        resulting = result_id(upload)
        if resulting is not None and is_restricted(session.get_one(Submission, resulting)):
            raise _unknown(submission_id)
        return upload, None
    account = users.authenticate(session, authorization)
    if upload is None or upload.submission.user_id != account.id:
        raise _unknown(submission_id)
    account.require(Scope.SUBMIT)
    account.require_method(upload.submission.method)
    return upload, account


def find_upload(session: Session, submission_id: str) -> Upload:
    """Return the multipart upload with this id, which `authorize` has found before.

    Raises
    ------
    ProblemError
        ``submission.unknown``: the upload was deleted meanwhile, together with the account of its owner.
    """
    upload = session.get(Upload, submission_id)
    if upload is None:
        raise _unknown(submission_id)
    return upload


def _unknown(submission_id: str) -> ProblemError:
    return ProblemError(
        "submission.unknown",
        f"You have no multipart upload {submission_id[:40]!r}.",
        "Use the id from the response to POST /api/v1/submissions. Send the upload token or a token of the owner; after the file"
        " of a private submission has arrived, only a token of the owner is accepted.",
    )


def check_open(upload: Upload) -> None:
    """Check that an upload is neither completed nor expired, and that its benchmark takes submissions.

    Raises
    ------
    ProblemError
        ``benchmark.retired``: the benchmark is retired, and the file of the upload had not arrived.
        ``upload.expired``: the upload has expired. ``request.conflict``: the file of the upload has arrived.
    """
    state = upload.submission.state
    if state in (State.UPLOADING, State.EXPIRED):
        check_not_retired(upload.submission.version.benchmark)
    if state == State.EXPIRED or (state == State.UPLOADING and upload.expires_at <= now()):
        raise _expired(upload)
    if state != State.UPLOADING:
        raise ProblemError(
            "request.conflict", f"The submission is {state}, so the file has arrived.", "Send no further upload part."
        )


def _expired(upload: Upload) -> ProblemError:
    return ProblemError(
        "upload.expired",
        f"The upload was cancelled, or was not completed before {upload.expires_at:%Y-%m-%d %H:%M:%S} UTC.",
        "Start a new upload with POST /api/v1/submissions; the expired upload does not count towards the quota.",
    )


def check_part(upload: Upload, number: int) -> None:
    """Raise ``upload.part`` if an upload has no upload part with this number."""
    if number >= upload.part_count:
        raise ProblemError.mismatch(
            "upload.part",
            expected=f"an upload part from 0 to {upload.part_count - 1}",
            got=f"upload part {number}",
            hint=f"Send only upload parts that GET /api/v1/submissions/{upload.submission_id}/parts lists.",
        )


def check_part_size(upload: Upload, number: int, size: int) -> None:
    """Raise ``upload.part`` if an upload part of `size` bytes does not have the expected size."""
    if size != upload.part_size(number):
        raise wrong_size(upload, number, f"{size} bytes")


def wrong_size(upload: Upload, number: int, got: str) -> ProblemError:
    """Return the error for an upload part that does not have the expected size; `got` names the size that it has."""
    return ProblemError.mismatch(
        "upload.part",
        expected=f"{upload.part_size(number)} bytes in upload part {number}",
        got=got,
        hint="GET …/parts lists 'offset' and 'size' of each upload part: send 'size' bytes of the file from 'offset' on.",
    )


def receive_part(session: Session, storage: Storage, upload: Upload, number: int, arrival: Arrival) -> PartView:
    """Store a received upload part as `note_part` does; the caller has called `Arrival.flush`."""
    view = note_part(session, upload, number, arrival.sha256)
    storage.keep_part(upload.submission_id, number, arrival)
    return view


def note_part(session: Session, upload: Upload, number: int, sha256: str) -> PartView:
    """Note that an upload part has arrived, and return its response model; replace an earlier part with the same number.

    The caller has checked number and size of the part. The errors are those of `check_standing` and `check_open`.
    """
    check_standing(upload.submission.user)  # may have changed while the bytes arrived
    check_open(upload)
    session.merge(UploadPart(submission_id=upload.submission_id, number=number, sha256=sha256, received_at=now()))
    session.flush()
    return _part_view(upload, number, sha256)


def result_id(upload: Upload) -> str | None:
    """Return the id of the submission that resulted from an upload; None if the upload is not completed.

    For a duplicate, the result is the id of the owner's earlier submission.
    """
    if upload.stands_for is not None:
        return upload.stands_for
    return None if upload.submission.state in (State.UPLOADING, State.EXPIRED) else upload.submission_id


def finish(session: Session, storage: Storage, upload: Upload, arrival: Arrival, quotas: Quotas) -> str:
    """Accept the joined file by `app.submissions.lifecycle.accept`; return the id of the resulting submission.

    If the upload is already completed, return the id without accepting the file again.

    Raises
    ------
    ProblemError
        The errors of `check_open` and `app.submissions.lifecycle.accept`.
    """
    if (resulting := result_id(upload)) is not None:
        return resulting
    check_open(upload)
    accepted = lifecycle.accept(session, storage, upload.submission_id, arrival, quotas)
    upload.stands_for = None if accepted == upload.submission_id else accepted
    return accepted


def cancel(session: Session, upload_id: str, detail: str) -> None:
    """Expire an upload and delete the rows of its upload parts; do nothing if the upload is completed or has expired already.

    `detail` states the reason in the event of the submission. The stored files of the upload parts are not deleted here.
    """
    if lifecycle.expire(session, upload_id, detail):
        session.execute(delete(UploadPart).where(UploadPart.submission_id == upload_id))


def expire_overdue(session: Session) -> None:
    """Expire all multipart uploads that were not completed in time."""
    for upload_id in session.scalars(_select_open_ids().where(Upload.expires_at <= now())).all():
        cancel(session, upload_id, "not completed in time")


def cancel_retired(session: Session, benchmark_id: int) -> None:
    """Expire all open multipart uploads to a benchmark that is retired. Recovery deletes the files of their upload parts."""
    query = _select_open_ids().join(Submission.version).where(Version.benchmark_id == benchmark_id)
    for upload_id in session.scalars(query).all():
        cancel(session, upload_id, "benchmark.retired")


def open_upload_ids(session: Session) -> set[str]:
    """Return the ids of the multipart uploads that are neither completed nor expired."""
    return set(session.scalars(_select_open_ids()))


def _select_open_ids() -> Select[str]:
    return select(Upload.submission_id).join(Upload.submission).where(Submission.state == State.UPLOADING)


def upload_view(upload: Upload, *, direct: bool) -> UploadView:
    """Return the response model of an upload and of all its upload parts, received or not; `direct` is `Storage.takes_parts`.

    The function does not check access: the response is only for callers who may send upload parts.
    """
    hashes = {part.number: part.sha256 for part in upload.received}
    address = f"{API}/submissions/{upload.submission_id}"
    return UploadView(
        id=upload.submission_id,
        state=State(upload.submission.state).value,
        size=upload.submission.size,
        sha256=upload.sha256,
        part_bytes=upload.part_bytes,
        expires_at=upload.expires_at,
        direct=direct,
        parts=[_part_view(upload, number, hashes.get(number)) for number in range(upload.part_count)],
        links={"self": address, "parts": f"{address}/parts", "complete": f"{address}/complete"},
    )


def _part_view(upload: Upload, number: int, sha256: str | None) -> PartView:
    return PartView(
        number=number,
        offset=number * upload.part_bytes,
        size=upload.part_size(number),
        url=f"{API}/submissions/{upload.submission_id}/parts/{number}",
        received=sha256 is not None,
        sha256=sha256,
    )

"""Uploads in parts: started, sent in any order, completed, and given up."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from app.accounts import users
from app.accounts.tokens import CAPABILITY, digest
from app.db.accounts import Scope
from app.db.base import now
from app.db.models import State, Submission, Visibility
from app.db.uploads import Part, Upload
from app.submissions import lifecycle
from app.submissions.schemas import PartView, UploadView
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from datetime import timedelta

    from sqlalchemy.orm import Session

    from app.accounts.quotas import Quotas
    from app.accounts.users import Account
    from app.submissions.storage import Arrival, Storage

API = "/api/v1"


def open_upload(session: Session, submission: Submission, sha256: str, part_bytes: int, lifetime: timedelta) -> str:
    """Let the parts of a submission be sent, and return the capability to do so; only its hash is kept."""
    capability = CAPABILITY + secrets.token_urlsafe(32)
    session.add(
        Upload(
            submission_id=submission.id,
            submission=submission,
            digest=digest(capability),
            sha256=sha256,
            part_bytes=part_bytes,
            expires_at=now() + lifetime,
        )
    )
    session.flush()
    return capability


def renew(session: Session, upload: Upload) -> str:
    """Return a new capability in place of one that the caller never received."""
    capability = CAPABILITY + secrets.token_urlsafe(32)
    upload.digest = digest(capability)
    session.flush()
    return capability


def authorise(session: Session, submission_id: str, authorization: str | None) -> tuple[Upload, Account | None]:
    """Return an upload to whoever may send it: its owner, and who that is; or the holder of its capability, who is nobody.

    When its file has arrived, a capability opens what everybody may see of it, and no more.

    Raises
    ------
    ProblemError
        ``auth.missing``, ``auth.invalid``, ``auth.scope``, ``submission.unknown`` for an upload of somebody else, or
        ``upload.expired`` for a capability whose time is over.
    """
    upload = session.get(Upload, submission_id)
    _, _, value = (authorization or "").partition(" ")
    if upload is not None and upload.digest == digest(value.strip()):
        if upload.expires_at <= now():
            raise _expired(upload)
        done = answer(upload)
        if done is not None and session.get_one(Submission, done).visibility == Visibility.PRIVATE:
            raise _unknown(submission_id)
        return upload, None
    account = users.authenticate(session, authorization)
    if upload is None or upload.submission.user_id != account.id:
        raise _unknown(submission_id)
    account.require(Scope.SUBMIT)
    return upload, account


def _unknown(submission_id: str) -> ProblemError:
    return ProblemError(
        "submission.unknown",
        expected="the id of an upload in parts that you started",
        got=repr(submission_id[:40]),
        hint="Start one with POST /api/v1/submissions; a private one whose file has arrived needs its owner's token.",
    )


def check_open(upload: Upload) -> None:
    """Raise unless an upload still waits for parts: ``upload.expired``, or ``request.conflict`` when it has its file."""
    state = upload.submission.state
    if state == State.EXPIRED or (state == State.UPLOADING and upload.expires_at <= now()):
        raise _expired(upload)
    if state != State.UPLOADING:
        raise ProblemError(
            "request.conflict",
            expected="an upload that waits for parts",
            got=f"a submission that is {state}",
            hint="Its file has arrived; nothing more is needed.",
        )


def _expired(upload: Upload) -> ProblemError:
    return ProblemError(
        "upload.expired",
        expected=f"an upload that is completed before {upload.expires_at:%Y-%m-%d %H:%M:%S} UTC",
        got="one that was given up, or whose time is over",
        hint="Start again with POST /api/v1/submissions; it has cost nothing.",
    )


def check_part(upload: Upload, number: int) -> None:
    """Raise ``upload.part`` unless an upload has a part of this number."""
    if number >= upload.count:
        raise ProblemError(
            "upload.part",
            expected=f"a part from 0 to {upload.count - 1}",
            got=f"part {number}",
            hint="Send the parts that the start of the upload listed.",
        )


def check_part_size(number: int, expected: int, size: int) -> None:
    """Raise ``upload.part`` unless a part has the size that it should have."""
    if size != expected:
        raise ProblemError(
            "upload.part",
            expected=f"{expected} bytes in part {number}",
            got=f"{size} bytes",
            hint="Send the bytes of the file from 'offset' on, 'size' of them.",
        )


def receive_part(
    session: Session, storage: Storage, upload: Upload, number: int, arrival: Arrival, sha256: str
) -> None:
    """Keep a part that has arrived, in place of an earlier one of its number."""
    check_open(upload)
    session.merge(Part(submission_id=upload.submission_id, number=number, sha256=sha256, received_at=now()))
    session.flush()
    arrival.keep(storage.part(upload.submission_id, number))


def answer(upload: Upload) -> str | None:
    """Return the id of the submission that an upload became; None while its file has not arrived."""
    if upload.stands_for is not None:
        return upload.stands_for
    return None if upload.submission.state in (State.UPLOADING, State.EXPIRED) else upload.submission_id


def check_complete(session: Session, upload: Upload) -> None:
    """Raise ``upload.incomplete``, naming the parts that are missing, unless all have arrived."""
    there = set(session.scalars(select(Part.number).where(Part.submission_id == upload.submission_id)))
    missing = [number for number in range(upload.count) if number not in there]
    if missing:
        named = ", ".join(map(str, missing[:20])) + (", …" if len(missing) > 20 else "")  # noqa: PLR2004
        raise ProblemError(
            "upload.incomplete",
            expected=f"{upload.count} parts",
            got=f"all but {len(missing)}: {named}",
            hint="Send the missing parts; GET …/parts lists them.",
        )


def check_sha256(upload: Upload, sha256: str) -> None:
    """Raise ``upload.hash`` unless the joined parts are the file that was announced."""
    if sha256 != upload.sha256:
        raise ProblemError(
            "upload.hash",
            expected=f"a file with sha256 {upload.sha256}",
            got=f"parts that make one with {sha256}",
            hint="Send the parts that differ again (GET …/parts tells the sha256 of each), or start again.",
        )


def finish(session: Session, storage: Storage, upload: Upload, arrival: Arrival, sha256: str, quotas: Quotas) -> str:
    """Take the joined file as one that came in one piece; return the id of the submission that stands for it."""
    if (done := answer(upload)) is not None:
        return done
    check_open(upload)
    stands = lifecycle.accept(session, storage, upload.submission_id, arrival, sha256, quotas)
    upload.stands_for = None if stands == upload.submission_id else stands
    return stands


def give_up(session: Session, upload_id: str, detail: str) -> None:
    """Expire an upload that still waits for its file, and forget its parts."""
    if lifecycle.move(session, upload_id, State.UPLOADING, State.EXPIRED, detail=detail):
        session.execute(delete(Part).where(Part.submission_id == upload_id))


def expire(session: Session) -> None:
    """Give up all uploads whose time is over."""
    late = (
        select(Upload.submission_id)
        .join(Submission, Submission.id == Upload.submission_id)
        .where(Submission.state == State.UPLOADING, Upload.expires_at <= now())
    )
    for upload_id in session.scalars(late).all():
        give_up(session, upload_id, "its time was over")


def waiting(session: Session) -> set[str]:
    """Return the ids of the uploads whose parts are still needed."""
    query = select(Upload.submission_id).join(Submission, Submission.id == Upload.submission_id)
    return set(session.scalars(query.where(Submission.state == State.UPLOADING)))


def view(session: Session, upload: Upload) -> UploadView:
    """Return an upload with its parts, as those may see it who may send it."""
    there = dict(
        session.execute(select(Part.number, Part.sha256).where(Part.submission_id == upload.submission_id)).all()
    )
    own = f"{API}/submissions/{upload.submission_id}"
    parts = [
        PartView(
            number=number,
            offset=number * upload.part_bytes,
            size=upload.part_size(number),
            url=f"{own}/parts/{number}",
            received=number in there,
            sha256=there.get(number),
        )
        for number in range(upload.count)
    ]
    return UploadView(
        id=upload.submission_id,
        state=State(upload.submission.state).value,
        size=upload.submission.size,
        sha256=upload.sha256,
        part_bytes=upload.part_bytes,
        expires_at=upload.expires_at,
        parts=parts,
        links={"self": own, "parts": f"{own}/parts", "complete": f"{own}/complete"},
    )

"""Joining the upload parts of a multipart upload into one file, which is hashed on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete

from app.db.uploads import Upload, UploadPart
from app.submissions import multipart
from ldsboard.counts import count
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.orm import Session

    from app.submissions.arrivals import Arrival
    from app.submissions.storage import Storage


def check_complete(upload: Upload) -> None:
    """Raise ``upload.incomplete``, with the numbers of at most 20 missing upload parts, unless all upload parts have arrived."""
    missing = sorted(set(range(upload.part_count)) - {part.number for part in upload.received})
    if missing:
        named = ", ".join(map(str, missing[:20])) + (", …" if len(missing) > 20 else "")  # noqa: PLR2004
        raise ProblemError(
            "upload.incomplete",
            f"The upload lacks {len(missing)} of {count(upload.part_count, 'part')}: {named}.",
            "Send the missing upload parts; GET …/parts lists all upload parts.",
        )


def join(storage: Storage, upload: Upload, arrival: Arrival) -> None:
    """Write the upload parts of an upload that has received all of them to `arrival`, in order, in chunks.

    What a client sends straight to the store can be replaced at any time, also while it is read. So no more than one chunk is
    read of an upload part beyond its size, and only the joined bytes are compared with the announced SHA-256 and kept.

    Raises
    ------
    ProblemError
        ``upload.part``: an upload part does not have the expected size. ``upload.hash``: the file is not the announced one.
    FileNotFoundError
        An upload part is not stored.
    """
    for part in _in_order(upload):
        start = arrival.size
        for chunk in storage.read(_key(storage, part)):
            arrival.write(chunk)
            if arrival.size - start > upload.part_size(part.number):
                raise multipart.wrong_size(upload, part.number, "more")
        multipart.check_part_size(upload, part.number, arrival.size - start)
    if arrival.sha256 != upload.sha256:
        raise ProblemError.mismatch(
            "upload.hash",
            expected=f"a file with sha256 {upload.sha256}",
            got=f"upload parts of a file with sha256 {arrival.sha256}",
            hint="Send the wrong upload parts again (GET …/parts shows the sha256 of each upload part), or start a new upload.",
        )


def find_lost(storage: Storage, upload: Upload) -> list[UploadPart]:
    """Return the upload parts that have arrived but are no longer stored."""
    return [part for part in _in_order(upload) if storage.size(_key(storage, part)) is None]


def forget(session: Session, parts: Collection[UploadPart]) -> None:
    """Delete the rows of upload parts, so that the parts count as missing, unless other bytes have arrived meanwhile."""
    for part in parts:
        same = (getattr(UploadPart, name) == getattr(part, name) for name in ("submission_id", "number", "sha256"))
        session.execute(delete(UploadPart).where(*same))


def _key(storage: Storage, part: UploadPart) -> str:
    return storage.part_key(part.submission_id, part.number, part.sha256)


def _in_order(upload: Upload) -> list[UploadPart]:
    return sorted(upload.received, key=lambda part: part.number)

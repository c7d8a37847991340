"""Send score files as multipart uploads: upload parts are sent in parallel, and interrupted uploads can be resumed."""

from __future__ import annotations

import hashlib
import uuid
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldsboard.arrays.scores import check_finite
from ldsboard.client import Client, RefusedError
from ldsboard.formats.score_files import open_scores
from ldsboard.pending import PendingUpload
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Advance = Callable[[int], None]

PARALLEL_PARTS = 4
"""Number of upload parts that are sent in parallel."""

READ_BYTES = 1 << 20
"""Number of bytes that are read, hashed and sent at a time."""


def submit(
    client: Client, benchmark: str, path: Path, *, method: str, advance: Advance = lambda _: None, **fields: Any
) -> dict[str, Any]:
    """Check and upload a score file, and return the submission.

    Parameters
    ----------
    client
        Client with a token of the submitter.
    benchmark
        Name of the benchmark.
    path
        The score file.
    method
        Name of the method.
    advance
        Function that shows progress; several threads call the function. Each call states how many more bytes were sent. Bytes
        that had already arrived before a resumed upload count as sent. If an upload part must be sent again, a call with a
        negative number first takes back the bytes of the failed attempt.
    **fields
        Optional fields of ``POST /api/v1/submissions``, which the server checks, such as ``kind``, ``visibility``, ``title``,
        ``cost`` and ``provenance``.

    Returns
    -------
    dict
        The submission as the server describes it.

    Raises
    ------
    ProblemError
        ``upload.changed``: the file changed during the upload.
        Any other code: the file is not a score file or holds values that are not finite; nothing was sent.
    ClientError
        The server refused the upload or could not be reached. If `ldsboard.pending.pending_uploads` still returns the upload,
        `resume` continues it.
    OSError
        The file cannot be read.
    """
    check_finite(open_scores(path))
    size, sha256 = path.stat().st_size, _sha256(path)
    announced = {"benchmark": benchmark, "method": method, "size": size, "sha256": sha256, **fields}
    upload = client.start_upload(announced, str(uuid.uuid4()))
    token, expires_at = upload["capability"], upload["expires_at"]
    pending = PendingUpload(client.server, upload["id"], token, str(path.absolute()), size, sha256, expires_at)
    with suppress(OSError, ValueError):  # an upload without a record can be sent, but not resumed
        pending.save()
    return _send_and_clean_up(client, pending, advance, upload)


def resume(client: Client, pending: PendingUpload, advance: Advance = lambda _: None) -> dict[str, Any]:
    """Continue an interrupted upload, and return the submission; upload parts that have arrived intact are not sent again.

    Parameters
    ----------
    client
        Client with a token of the owner. The file is sent with the upload token in `pending`. The owner's token is used only if
        the submission is private and the server already has the whole file: the upload token cannot then read the submission.
    pending
        The record of the upload.
    advance
        As in `submit`.

    Raises
    ------
    ProblemError
        ``upload.changed``: the file has changed since the upload began.
    ClientError
        The server refused the upload or could not be reached.
    OSError
        The file cannot be read.
    """
    path = Path(pending.path)
    if path.stat().st_size != pending.size or _sha256(path) != pending.sha256:
        raise _file_changed(pending)
    return _send_and_clean_up(client, pending, advance)


def _send_and_clean_up(
    client: Client, pending: PendingUpload, advance: Advance, upload: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Send the file of an upload with the upload token, and return the submission.

    The record `pending` is deleted from the cache once the server has the file, or has refused the file for good. `upload` is the
    server's description of the upload; if `upload` is None, the description is requested from the server.
    """
    try:
        with Client(pending.server, pending.capability) as sender:
            submission = _send(sender, pending, upload or sender.upload(pending.id), advance)
    except RefusedError as error:
        if error.problem.code != "submission.unknown":
            if error.final:
                pending.delete()
            raise
        # The server has the file of a private submission, but its response was lost. Only the owner's token opens the submission;
        # without that token this call fails, and the record stays for another attempt.
        submission = client.complete(pending.id)
    pending.delete()
    return submission


def _send(sender: Client, pending: PendingUpload, upload: dict[str, Any], advance: Advance) -> dict[str, Any]:
    """Send the missing upload parts, complete the upload, and return the submission."""
    path = Path(pending.path)

    def send(part: dict[str, Any]) -> None:
        sent = 0

        def body() -> Iterator[bytes]:
            nonlocal sent
            advance(-sent)
            sent = 0
            for chunk in _read(path, part["offset"], part["size"]):
                yield chunk
                sent += len(chunk)
                advance(len(chunk))
            if sent != part["size"]:
                raise _file_changed(pending)

        sender.send_part(part["url"], body, part["size"])

    def has_arrived(part: dict[str, Any]) -> bool:
        return bool(part["received"]) and part["sha256"] == _sha256(path, part["offset"], part["size"])

    if upload["state"] == "uploading":
        missing = [part for part in upload["parts"] if not has_arrived(part)]
        advance(pending.size - sum(part["size"] for part in missing))
        _send_parts(sender, send, missing)
    try:
        return sender.complete(pending.id)
    except RefusedError as error:
        if error.problem.code == "upload.hash":
            raise _file_changed(pending) from None
        raise


def _send_parts(sender: Client, send: Callable[[dict[str, Any]], None], parts: list[dict[str, Any]]) -> None:
    with ThreadPoolExecutor(PARALLEL_PARTS) as pool:
        try:
            for sent in as_completed([pool.submit(send, part) for part in parts]):
                sent.result()
        except BaseException:
            # Stop the other threads too: after one failure this call cannot complete the upload.
            sender.close()
            pool.shutdown(cancel_futures=True)
            raise


def _read(path: Path, offset: int, size: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(offset)
        while size > 0 and (chunk := file.read(min(READ_BYTES, size))):
            size -= len(chunk)
            yield chunk


def _sha256(path: Path, offset: int = 0, size: int | None = None) -> str:
    digest = hashlib.sha256()
    for chunk in _read(path, offset, path.stat().st_size if size is None else size):
        digest.update(chunk)
    return digest.hexdigest()


def _file_changed(pending: PendingUpload) -> ProblemError:
    return ProblemError(
        "upload.changed",
        f"{pending.path} has changed since the upload began, when it had {pending.size} bytes with sha256 {pending.sha256}.",
        "Submit the changed file without --resume.",
    )

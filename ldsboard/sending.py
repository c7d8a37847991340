"""Send score files as multipart uploads: upload parts are sent in parallel, and interrupted uploads can be resumed."""

from __future__ import annotations

import hashlib
import json
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldsboard import background
from ldsboard.arrays.scores import check_finite
from ldsboard.client import Client, RefusedError
from ldsboard.direct_parts import DirectParts
from ldsboard.formats.score_files import open_scores
from ldsboard.pending import PendingUpload, absolute
from ldsboard.problems import ProblemError
from ldsboard.reservations import announce, busy, give_up, reserve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Advance = Callable[[int], None]
    Opened = Callable[[PendingUpload], None]

PARALLEL_PARTS = 4
"""Number of upload parts that are sent in parallel."""

READ_BYTES = 1 << 20
"""Number of bytes that are read, hashed and sent at a time."""


def submit(
    client: Client,
    benchmark: str,
    path: Path,
    *,
    method: str,
    advance: Advance = lambda _: None,
    opened: Opened = lambda _: None,
    source: Path | None = None,
    conversion: dict[str, str] | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """Check and upload a score file, and return the submission; for a duplicate, the unchanged earlier submission.

    If the cache has the record of an unfinished upload of this file with the same fields, that upload is continued. An unfinished
    upload of this file with the same benchmark, method and kind but another value of any other field is given up first.

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
    opened
        Function that receives the record of the upload: once before the server is asked, and again when the server has answered.
    source, conversion
        The file from which `path` was made, and the options with which it was made. The record keeps both for `resume`.
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
        ``upload.changed``: the file changed during the upload, which is given up.
        Any other code: the file is not a score file or holds values that are not finite; nothing was sent.
    RefusedError
        The server, or a proxy before the server, refused the upload. If the refusal is final, the upload is given up.
    UnreachableError
        The server could not be reached. Another call with the same arguments, or `resume`, continues the upload.
    OSError
        The file cannot be read.
    """
    check_finite(open_scores(path))
    size, sha256 = path.stat().st_size, _sha256(path)
    announced = {"benchmark": benchmark, "method": method, "size": size, "sha256": sha256, **fields}
    check_texts(announced)
    new = PendingUpload(
        server=client.server,
        id="",
        capability="",
        path=absolute(path),
        size=size,
        sha256=sha256,
        expires_at="",
        announced=json.loads(json.dumps(announced)),
        source=absolute(source) if source else "",
        conversion=conversion or {},
    )
    with ExitStack() as in_use:
        pending, upload = reserve(client, new, opened, in_use)
        return _send_and_clean_up(client, pending, path, advance, upload)


def check_texts(fields: dict[str, Any]) -> None:
    """Raise ``request.invalid`` if a text in the fields of an announcement cannot be encoded in UTF-8.

    An argument of the command line holds such a text if the shell passed bytes that are not valid in the encoding of the locale.
    """
    try:
        json.dumps(fields, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ProblemError.mismatch(
            "request.invalid",
            expected="texts in UTF-8",
            got=ascii(error.object[error.start : error.end]),
            hint="Give the text in UTF-8, or set the locale of the shell to its encoding.",
        ) from None


def resume(
    client: Client,
    pending: PendingUpload,
    advance: Advance = lambda _: None,
    *,
    opened: Opened = lambda _: None,
    path: Path | None = None,
) -> dict[str, Any]:
    """Continue an interrupted upload, and return the submission; upload parts that have arrived intact are not sent again.

    Parameters
    ----------
    client
        Client with a token of the owner. The file is sent with the upload token in `pending`. The owner's token is used only in
        two cases. The server has not answered the announcement of the upload, so there is no upload token. Or the submission is
        private and the server already has the whole file: the upload token cannot then read the submission.
    pending
        The record of the upload.
    advance, opened
        Functions that show progress and receive the record, with the same arguments as in `submit`.
    path
        The score file, if it was made again from ``pending.source``; by default the path in the record.

    Raises
    ------
    ProblemError
        ``submission.busy``: another process is sending the upload.
        ``upload.changed``: the file has changed since the upload began. The upload is given up.
    ClientError
        The server or a proxy refused the upload (if for good, the upload is given up), or the server could not be reached.
    OSError
        The file cannot be read.
    """
    path = path or Path(pending.path)
    with pending.in_use() as held:
        if not held:
            raise busy(pending)
        opened(pending)
        if path.stat().st_size != pending.size or _sha256(path) != pending.sha256:
            give_up(client, pending)
            raise _file_changed(pending)
        upload = None
        if not pending.id:
            pending, upload = announce(client, pending, opened)
        return _send_and_clean_up(client, pending, path, advance, upload)


def _send_and_clean_up(
    client: Client, pending: PendingUpload, path: Path, advance: Advance, upload: dict[str, Any] | None
) -> dict[str, Any]:
    """Send the file of an upload with the upload token, and return the submission.

    The record `pending` is deleted from the cache once the server has the file. If the file has changed, or is refused for good,
    the upload is given up. `upload` is the server's description of the upload; if `upload` is None, the description is requested.
    """
    try:
        with Client(pending.server, pending.capability) as sender:
            submission = _send(sender, pending, path, upload or sender.upload(pending.id), advance)
    except ProblemError:
        give_up(client, pending)
        raise
    except RefusedError as error:
        if error.problem.code != "submission.unknown":
            if error.final:
                give_up(client, pending)
            raise
        # The server has the file of a private submission, but its response was lost. Only the owner's token opens the submission;
        # without that token this call fails, and the record stays for another attempt.
        submission = client.complete(pending.id)
    pending.delete()
    return submission


def _send(
    sender: Client, pending: PendingUpload, path: Path, upload: dict[str, Any], advance: Advance
) -> dict[str, Any]:
    """Send the missing upload parts, complete the upload, and return the submission."""

    def whole(part: dict[str, Any]) -> Iterator[bytes]:
        left = part["size"]
        for chunk in read(path, part["offset"], part["size"]):
            left -= len(chunk)
            yield chunk
        if left:
            raise _file_changed(pending)

    def send(part: dict[str, Any], direct: DirectParts | None) -> None:
        content = counted(partial(whole, part), advance)
        if direct is None or not direct.send(part, content, whole(part)):
            sender.send_part(part["url"], content, part["size"])

    def has_arrived(part: dict[str, Any]) -> bool:
        return bool(part["received"]) and part["sha256"] == _sha256(path, part["offset"], part["size"])

    if upload["state"] == "uploading":
        missing = [part for part in upload["parts"] if not has_arrived(part)]
        advance(pending.size - sum(part["size"] for part in missing))
        # After one failure this call cannot complete the upload. The caller then closes the sender, which ends the other threads.
        with DirectParts(sender) if upload.get("direct") else nullcontext() as direct:
            background.call_all([partial(send, part, direct) for part in missing], PARALLEL_PARTS)
    try:
        return sender.complete(pending.id)
    except RefusedError as error:
        if error.problem.code == "upload.hash":
            raise _file_changed(pending) from None
        raise


def counted(chunks: Callable[[], Iterator[bytes]], advance: Advance) -> Callable[[], Iterator[bytes]]:
    """Return a function that yields the same chunks as `chunks`, and calls `advance` with the size of each chunk sent.

    The returned function is called again if the chunks must be sent again. Each further call first calls `advance` with the
    negative number of bytes that the call before has counted.
    """
    sent = 0

    def body() -> Iterator[bytes]:
        nonlocal sent
        advance(-sent)
        sent = 0
        for chunk in chunks():
            yield chunk
            sent += len(chunk)
            advance(len(chunk))

    return body


def read(path: Path, offset: int, size: int) -> Iterator[bytes]:
    """Yield `size` bytes of a file from `offset` on, or fewer if the file ends before."""
    with path.open("rb") as file:
        file.seek(offset)
        while size > 0 and (chunk := file.read(min(READ_BYTES, size))):
            size -= len(chunk)
            yield chunk


def _sha256(path: Path, offset: int = 0, size: int | None = None) -> str:
    digest = hashlib.sha256()
    for chunk in read(path, offset, path.stat().st_size if size is None else size):
        digest.update(chunk)
    return digest.hexdigest()


def _file_changed(pending: PendingUpload) -> ProblemError:
    return ProblemError(
        "upload.changed",
        f"{pending.named} has changed since the upload began, when it had {pending.size} bytes with sha256 {pending.sha256}.",
        "Submit the changed file without --resume.",
    )

"""Score files on their way to a server: in parts, several at once, each retried alone, and gone on with after an interruption."""

from __future__ import annotations

import hashlib
import uuid
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldsboard.client import Client, RefusedError
from ldsboard.formats import open_scores
from ldsboard.pending import PendingUpload
from ldsboard.problems import ProblemError
from ldsboard.scores import check_finite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Advance = Callable[[int], None]

PARALLEL_PARTS = 4
"""Parts that are sent at the same time."""

READ_BYTES = 1 << 20


@dataclass(frozen=True)
class ReportedCost:
    """What a submitter says a method cost: seconds of computing, the device, and how many models were trained."""

    seconds: float | None = None
    device: str | None = None
    models: int | None = None


@dataclass(frozen=True)
class Provenance:
    """Where a submitter says that a file comes from."""

    repository: str | None = None
    commit: str | None = None
    url: str | None = None


def submit(
    client: Client,
    benchmark: str,
    path: Path,
    *,
    method: str,
    kind: str = "ranked",
    visibility: str = "public",
    title: str = "",
    cost: ReportedCost | None = None,
    origin: Provenance | None = None,
    advance: Advance = lambda _: None,
) -> dict[str, Any]:
    """Send a score file and return the submission.

    Parameters
    ----------
    visibility
        Who sees the submission, from the first moment on: ``public``, ``anonymous`` or ``private``.
    advance
        Called with the number of bytes sent since the last call; negative where a part is sent again. From several threads.

    Raises
    ------
    ProblemError
        The file is not a score file, or holds values that are not finite; nothing was sent. ``upload.changed``.
    ClientError
        The server refused it or could not be reached. If it can be gone on with, `resume` does.
    """
    check_finite(open_scores(path))
    size, sha256 = path.stat().st_size, _sha256(path)
    announced = {"benchmark": benchmark, "method": method, "kind": kind, "title": title, "size": size, "sha256": sha256}
    announced |= {"visibility": visibility, "cost": _stated_fields(cost), "provenance": _stated_fields(origin)}
    upload = client.start_upload(announced, str(uuid.uuid4()))
    kept = PendingUpload(
        client.server, upload["id"], upload["capability"], str(path.absolute()), size, sha256, upload["expires_at"]
    )
    with suppress(OSError):  # then it cannot be gone on with, which is no reason not to send it
        kept.keep()
    return _send_and_clean_up(client, kept, lambda sender: _send(sender, kept, upload, advance))


def resume(client: Client, kept: PendingUpload, advance: Advance = lambda _: None) -> dict[str, Any]:
    """Go on with an upload that was interrupted, and return the submission; what has arrived is not sent again.

    Parameters
    ----------
    client
        Only asked, with its token, for a private submission whose file has arrived whole: it opens to its owner alone.

    Raises
    ------
    ProblemError
        ``upload.changed``: the file is another one than when the upload began.
    ClientError
        As of `submit`.
    OSError
        The file is gone.
    """
    path = Path(kept.path)
    if path.stat().st_size != kept.size or _sha256(path) != kept.sha256:
        raise _file_changed(kept)
    return _send_and_clean_up(client, kept, lambda sender: _send(sender, kept, sender.upload(kept.id), advance))


def _send_and_clean_up(client: Client, kept: PendingUpload, send: Callable[[Client], dict[str, Any]]) -> dict[str, Any]:
    """Send by the capability of an upload, and forget it when the server has the file, or refuses it for good."""
    try:
        with Client(kept.server, kept.capability) as sender:
            submission = send(sender)
    except RefusedError as error:
        if error.problem.code != "submission.unknown":
            if error.final:
                kept.forget()
            raise
        # Private, and the server has it although its answer was lost: that takes the token of its owner. What is kept stays until
        # then, for somebody who has yet to give it.
        submission = client.complete(kept.id)
    kept.forget()
    return submission


def _send(sender: Client, kept: PendingUpload, upload: dict[str, Any], advance: Advance) -> dict[str, Any]:
    """Send the parts that are missing, and end the upload."""
    path = Path(kept.path)

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
                raise _file_changed(kept)

        sender.send_part(part["url"], body, part["size"])

    def there(part: dict[str, Any]) -> bool:
        return bool(part["received"]) and part["sha256"] == _sha256(path, part["offset"], part["size"])

    if upload["state"] == "uploading":
        missing = [part for part in upload["parts"] if not there(part)]
        advance(kept.size - sum(part["size"] for part in missing))
        _send_parts(sender, send, missing)
    try:
        return sender.complete(kept.id)
    except RefusedError as error:
        if error.problem.code == "upload.hash":
            raise _file_changed(kept) from None
        raise


def _send_parts(sender: Client, send: Callable[[dict[str, Any]], None], parts: list[dict[str, Any]]) -> None:
    with ThreadPoolExecutor(PARALLEL_PARTS) as lanes:
        try:
            for sent in as_completed([lanes.submit(send, part) for part in parts]):
                sent.result()
        except BaseException:
            # The others end at once too, instead of sending on what nobody waits for.
            sender.close()
            lanes.shutdown(cancel_futures=True)
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


def _stated_fields(given: ReportedCost | Provenance | None) -> dict[str, Any] | None:
    return {name: value for name, value in vars(given or Provenance()).items() if value is not None} or None


def _file_changed(kept: PendingUpload) -> ProblemError:
    return ProblemError(
        "upload.changed",
        f"{kept.path} had {kept.size} bytes with sha256 {kept.sha256} when the upload began; its content has changed.",
        "Submit the file as it is now, without --resume.",
    )

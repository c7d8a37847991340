"""Reservations: an announced upload takes a place in the quota of its owner, until the file has arrived or is given up."""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from ldsboard.client import Client, ClientError, RefusedError, UnreachableError
from ldsboard.pending import PendingUpload, pending_uploads_like
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    Opened = Callable[[PendingUpload], None]
    Reservation = tuple[PendingUpload, dict[str, Any]]

ENDED = frozenset({"expired", "withdrawn", "failed"})
"""States of a submission after which the same file is submitted anew."""

UNANSWERED_LIFETIME = timedelta(days=1)
"""How long the record of an announcement is kept that the server has not answered."""


class GivenUp(Enum):
    """What became of an upload that was to be given up."""

    FREED = auto()
    """The upload takes no place in the quota any more."""
    ARRIVED = auto()
    """The whole file had arrived: the submission stays."""
    UNKNOWN = auto()
    """The server confirmed neither `FREED` nor `ARRIVED`; an upload that is still open expires later."""


def reserve(client: Client, new: PendingUpload, opened: Opened, in_use: ExitStack) -> Reservation:
    """Continue an unfinished upload that was announced with equal fields, or announce a new upload; save the record.

    If an unfinished upload of the same file, benchmark, method and kind was announced with other fields, such as another
    visibility, that earlier upload is given up. Uploads of other accounts are left alone, and so are uploads with other fields
    that another process is sending.

    Parameters
    ----------
    client
        Client with a token of the owner.
    new
        The record of the upload, without id, key and upload token.
    opened
        Function that receives the record of the upload: once before the server is asked, and again when the server has answered.
    in_use
        Stack to which the function adds the locks that mark the upload as in use by this process.

    Returns
    -------
    PendingUpload
        The record of the upload, with id and upload token.
    dict
        The upload as the server describes it.

    Raises
    ------
    ProblemError
        ``submission.busy``: another process is sending an upload that was announced with equal fields.
    ClientError
        The server refused the upload or could not be reached.
    """
    known = pending_uploads_like(client.server, new.announced)
    for earlier in sorted(
        known, key=lambda upload: not upload.id
    ):  # a record without id may be of an upload that never began
        if not in_use.enter_context(earlier.in_use()):
            if earlier.announced == new.announced:
                raise busy(earlier)
            continue
        if earlier.announced != new.announced:
            with suppress(ClientError), client.hurried() as owner:
                if found := _reopen(owner, earlier):
                    give_up(client, found[0])
            continue
        opened(earlier)
        if found := _reopen(client, earlier):
            pending = replace(found[0], path=new.path, source=new.source, conversion=new.conversion)
            _save(pending, opened)
            return pending, found[1]
    lifetime = datetime.now(UTC) + UNANSWERED_LIFETIME
    pending = replace(new, key=uuid.uuid4().hex, expires_at=lifetime.isoformat())
    in_use.enter_context(pending.in_use())
    _save(pending, opened)
    try:
        return announce(client, pending, opened)
    except RefusedError as error:
        if error.final and not error.problem.code.startswith("proxy."):
            pending.delete()
        raise


def announce(client: Client, pending: PendingUpload, opened: Opened = lambda _: None) -> Reservation:
    """Announce an upload; return the record with id and upload token, and the upload as the server describes it.

    An upload can be announced again if the answer was lost: the idempotency key is the same, so no second upload is opened. The
    record is deleted if the server has not opened the upload and never will.
    """
    try:
        upload = client.start_upload(pending.announced, pending.key)
    except RefusedError as error:
        if _is_refused_for_good(error):
            pending.delete()
        raise
    pending = replace(pending, id=upload["id"], capability=upload["capability"], expires_at=upload["expires_at"])
    _save(pending, opened)
    return pending, upload


def _reopen(client: Client, earlier: PendingUpload) -> Reservation | None:
    """Return the record of an unfinished upload, and the upload as the server describes it now.

    If the server has not answered the announcement of the upload, the upload is announced again. Return None if the upload has
    ended or belongs to another account.
    """
    if not earlier.id:
        return announce(client, earlier)
    try:
        upload = client.upload(earlier.id)  # the server refuses the token of another account
    except RefusedError as error:
        if error.problem.code not in ("submission.unknown", "upload.expired"):
            raise
        return None
    if upload["state"] in ENDED:
        earlier.delete()
        return None
    return earlier, upload


def give_up(client: Client, pending: PendingUpload) -> GivenUp:
    """Cancel an upload, so that the upload takes no place in the quota; delete the record, and return what became of the upload.

    Each request to the server is sent only once, and waits at most a few seconds for an answer. If the outcome is unknown, the
    record is kept. With this record, the same file can be announced again without taking a second place in the quota.

    Parameters
    ----------
    client
        Client of the server. If the server has not answered the announcement, the client needs a token of the owner.
    pending
        The record of the upload.
    """
    outcome = GivenUp.FREED
    try:
        if not pending.id:
            with client.hurried() as owner:
                pending, _ = announce(owner, pending)
        with client.hurried(pending.capability) as sender:
            sender.cancel(pending.id)
    except (UnreachableError, ProblemError):  # a ProblemError: the CI run has no token any more
        return GivenUp.UNKNOWN
    except RefusedError as error:
        if error.problem.code in ("request.conflict", "submission.unknown"):
            outcome = GivenUp.ARRIVED
        elif error.problem.code != "upload.expired" and (pending.id or not _is_refused_for_good(error)):
            return GivenUp.UNKNOWN
    pending.delete()
    return outcome


def _is_refused_for_good(error: RefusedError) -> bool:
    """Return whether the refusal of an announcement shows that the server has not opened the upload.

    A refusal by a quota shows this, and so does every refusal that is final, with two exceptions: a refusal of the token
    (``auth.``, ``oidc.``), and a refusal by a proxy (``proxy.``). After these two and after a temporary refusal, an earlier
    attempt of the same announcement may have opened the upload.
    """
    code = error.problem.code
    return code.startswith("quota.") or (error.final and not code.startswith(("auth.", "oidc.", "proxy.")))


def busy(pending: PendingUpload) -> ProblemError:
    """Return the error for an upload that another process is sending."""
    return ProblemError(
        "submission.busy",
        f"Another process is sending {pending.named}.",
        "Wait until the other process ends. If the upload is then still unfinished, resume it again.",
    )


def _save(pending: PendingUpload, opened: Opened) -> None:
    with suppress(OSError, ValueError):  # an upload without a record can be sent, but not resumed
        pending.save()
    opened(pending)

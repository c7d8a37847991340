"""Errors that only the service raises, not the library.

::

    ProblemError          a request or a score file has a problem (defined in the library)
    └── LimitError        the call cannot succeed now; ``retry_after`` says after how many seconds it can
        ├── BusyError     the database is locked for too long, or too many requests or files are in progress
        ├── RateError     too many requests
        ├── QuotaError    too many submissions, uploads, edits, new tokens, CI tokens or new webhooks
        ├── DatabaseAwayError  the database does not answer
        ├── StorageAwayError  the store of score files is out of reach
        └── IssuerUnavailableError  (`app.accounts.key_sets`) the keys of an issuer cannot be fetched
    SandboxError          a scoring process ended without an answer; the evaluation is retried
    DamagedFileError      a stored score file no longer has its recorded SHA-256; the evaluation is retried
    LostFileError         the store answers that it does not hold a stored score file; the evaluation is retried
    OtherFolderError      other processes use the database with another data folder; the process ends
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ldsboard.counts import count
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from datetime import datetime


class LimitError(ProblemError):
    """A call cannot succeed now: a limit is reached, or an issuer of identity tokens cannot be reached.

    A repeated call can succeed after ``retry_after`` seconds. If ``retry_after`` is None, waiting does not help.
    """

    retry_after: int | None = None


class BusyError(LimitError):
    """The server is too busy: too many requests or files are in progress, or the database is locked for too long."""

    retry_after = 5

    def __init__(self, reason: str = "The database is locked by other requests.") -> None:
        super().__init__(
            "internal.busy",
            reason,
            f"Nothing was saved or counted. Try again in {self.retry_after} seconds.",
        )


class DatabaseAwayError(LimitError):
    """The database does not answer."""

    retry_after = 5

    def __init__(self) -> None:
        super().__init__(
            "internal.database",
            "The database does not answer.",
            f"Nothing was saved or counted. Try again in {self.retry_after} seconds.",
        )


class RateError(LimitError):
    """The caller exceeds a rate limit."""

    def __init__(self, limit: str, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(
            "rate.exceeded", f"At most {limit} are allowed.", f"Try again in {count(retry_after, 'second')}."
        )


class QuotaError(LimitError):
    """The caller has used up a quota.

    `resets_at` is the time from which the next action of this kind is possible; None if waiting does not help. `limit` names the
    quota in the message, and `advice` is the last sentence of the hint.
    """

    def __init__(self, limit: str, resets_at: datetime | None, now: datetime, advice: str) -> None:
        when = "This quota is for the whole version and does not reset."
        if resets_at is not None:
            when = f"The quota resets at {resets_at:%Y-%m-%d %H:%M:%S} UTC."
            self.retry_after = max(1, math.ceil((resets_at - now).total_seconds()))
        super().__init__(
            "quota.exceeded",
            f"The quota is {limit}.",
            f"{when} {advice}",
        )


class StorageAwayError(LimitError):
    """The store of score files is out of reach. ``reason`` says why in one or two words, for the operator."""

    retry_after = 25  # a client that tries four times then outlasts an outage of a minute

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            "internal.storage",
            "The store of score files is out of reach.",
            f"Nothing was saved or counted. Try again in {self.retry_after} seconds.",
        )


def disk_full() -> ProblemError:
    """Return the error that reports a full disk of the server."""
    return ProblemError(
        "internal.full",
        "The server's disk is full.",
        "Nothing was saved or counted. Try again later; the operator should free space.",
    )


def body_too_large(limit: int) -> ProblemError:
    """Return the error for a body of more than `limit` bytes in a call that takes no score file."""
    return ProblemError(
        "request.too_large", f"The body of this call may have at most {limit} bytes.", "Send score files with PUT."
    )


def body_too_slow(seconds: float) -> ProblemError:
    """Return the error for a request body that did not arrive within `seconds`."""
    return ProblemError(
        "upload.interrupted", f"The body did not arrive within {seconds:.0f} seconds.", "Send the request again."
    )


class SandboxError(RuntimeError):
    """A scoring process ended without an answer."""


class DamagedFileError(RuntimeError):
    """The bytes of a stored score file do not have the SHA-256 under which the file was stored."""


class LostFileError(FileNotFoundError):
    """The store answers that it does not hold a stored score file."""


class OtherFolderError(RuntimeError):
    """Servers or workers that run use the database in LDSBOARD_DATABASE_URL with another data folder."""

    def __init__(self) -> None:
        super().__init__(
            "Servers or workers that run use the database in LDSBOARD_DATABASE_URL with another data folder than that in "
            "LDSBOARD_DATA_DIR. Set LDSBOARD_DATA_DIR to theirs. To use a copy, such as a restored backup, by itself, unset "
            "LDSBOARD_DATABASE_URL and LDSBOARD_STORAGE_URL."
        )

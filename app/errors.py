"""The HTTP status of every problem code, and the errors that only the service has.

::

    ProblemError          what the caller sent cannot be used (in the library, which has the words)
    └── LimitError        …not now: it knows when to try again
        ├── BusyError     the database is in use for long
        ├── RateError     too many requests
        └── QuotaError    too many ranked submissions
    SandboxError          a scoring process died: our fault, tried again
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from ldsboard.problems import ProblemError

STATUS = {
    "scores.unreadable": 422,
    "scores.truncated": 422,
    "scores.damaged": 422,
    "scores.several": 422,
    "scores.object": 422,
    "scores.dtype": 422,
    "scores.shape": 422,
    "scores.transposed": 422,
    "scores.empty": 422,
    "scores.nonfinite": 422,
    "upload.length_required": 411,
    "upload.too_large": 413,
    "upload.interrupted": 400,
    "upload.encoding": 415,
    "upload.part": 422,
    "upload.incomplete": 409,
    "upload.hash": 422,
    "upload.expired": 410,
    "auth.missing": 401,
    "auth.invalid": 401,
    "auth.expired": 401,
    "auth.scope": 403,
    "auth.form": 403,
    "auth.sign_in": 502,
    "auth.owner": 403,
    "token.unknown": 404,
    "rate.exceeded": 429,
    "quota.exceeded": 429,
    "quota.bytes": 413,
    "quota.uploads": 429,
    "benchmark.unknown": 404,
    "submission.unknown": 404,
    "submission.not_scored": 409,
    "submission.busy": 409,
    "submission.gone": 409,
    "compare.different": 409,
    "request.invalid": 422,
    "request.not_found": 404,
    "request.conflict": 409,
    "request.too_large": 413,
    "internal.failed": 500,
    "internal.unready": 503,
    "internal.busy": 503,
    "internal.full": 507,
}
"""HTTP status of each problem code that can leave the service."""


class LimitError(ProblemError):
    """Not now: ``retry_after`` is in how many seconds, if ever."""

    retry_after: int | None = None


class BusyError(LimitError):
    """Others write to the database for longer than anybody should wait."""

    retry_after = 5

    def __init__(self) -> None:
        super().__init__(
            "internal.busy",
            expected="the database to be free for a moment",
            got="one that others write to",
            hint=f"Nothing was kept or counted. Try again in {self.retry_after} seconds.",
        )


class RateError(LimitError):
    """The caller makes too many requests."""

    def __init__(self, limit: str, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(
            "rate.exceeded", expected=f"at most {limit}", got="one more", hint=f"Try again in {retry_after} seconds."
        )


class QuotaError(LimitError):
    """The caller has used up a quota, until ``resets_at``; for good if that is None."""

    def __init__(self, limit: str, resets_at: datetime | None, now: datetime) -> None:
        if resets_at is not None:
            self.retry_after = math.ceil(max(timedelta(seconds=1), resets_at - now).total_seconds())
        when = (
            "This quota holds for the whole version, and does not reset."
            if resets_at is None
            else f"The quota resets at {resets_at:%Y-%m-%d %H:%M:%S} UTC."
        )
        super().__init__(
            "quota.exceeded",
            expected=f"at most {limit}",
            got="one more",
            hint=f"{when} Practice submissions (kind=practice) are not counted.",
        )


def no_room(expected: str) -> ProblemError:
    """Return the error of a disk that is full."""
    return ProblemError(
        "internal.full",
        expected=expected,
        got="a disk of the server without it",
        hint="Nothing was kept or counted. Try again later; the operator should make room.",
    )


class SandboxError(RuntimeError):
    """A scoring process ended without an answer."""

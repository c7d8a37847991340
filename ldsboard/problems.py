"""What can be wrong with a request or a score file: one vocabulary for the library, the command line, the API and the pages.

::

    ValueError
    └── ProblemError          carries a Problem: code, title, expected, got, hint
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Self

TITLES = {
    "scores.unreadable": "The file is in no format that can be read",
    "scores.truncated": "The file does not have the size that its header claims",
    "scores.damaged": "The file is damaged",
    "scores.several": "The file does not hold exactly one array",
    "scores.object": "The file holds pickled Python objects",
    "scores.dtype": "The scores have an unsupported type",
    "scores.shape": "The scores have the wrong shape",
    "scores.transposed": "The scores are transposed",
    "scores.empty": "The file is empty",
    "scores.nonfinite": "The scores are not all finite",
    "masks.invalid": "The subsets cannot be read",
    "margins.invalid": "The margins cannot be used",
    "upload.length_required": "The request does not state its length",
    "upload.too_large": "The file is too large",
    "upload.interrupted": "The upload ended early",
    "upload.encoding": "The content encoding cannot be read",
    "upload.part": "The part does not belong to the upload",
    "upload.incomplete": "Parts of the file are missing",
    "upload.hash": "The bytes are not the file that was announced",
    "upload.expired": "The upload is over",
    "upload.changed": "The file is no longer what was begun to be sent",
    "auth.missing": "This call needs a token",
    "auth.invalid": "The token is not valid",
    "auth.expired": "The token has expired",
    "auth.owner": "The submission belongs to somebody else",
    "auth.form": "The form is not one of this session",
    "auth.sign_in": "Signing in did not work",
    "auth.scope": "The token does not allow this call",
    "token.unknown": "There is no such token",
    "rate.exceeded": "Too many requests",
    "quota.exceeded": "The quota of ranked submissions is used up",
    "quota.bytes": "Your files leave no room for this one",
    "quota.uploads": "Too many of your uploads are under way",
    "benchmark.unknown": "There is no such benchmark",
    "submission.unknown": "There is no such submission",
    "submission.not_scored": "The submission has no result yet",
    "submission.busy": "The submission is being received or scored",
    "submission.gone": "The submission is withdrawn or expired already",
    "compare.different": "The submissions cannot be compared",
    "request.invalid": "The request is not valid",
    "request.not_found": "There is nothing at this address",
    "request.conflict": "The request contradicts an earlier one",
    "request.too_large": "The request is too large",
    "internal.failed": "The evaluation failed on our side",
    "internal.unready": "The service is not ready",
    "internal.busy": "The database is in use",
    "internal.full": "The service has no room left",
}
"""Every code there is, with its title."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, in the words that every interface uses."""

    code: str
    expected: str
    got: str
    hint: str

    @property
    def title(self) -> str:
        """The short text of the code; the code itself if a newer server knows more of them."""
        return TITLES.get(self.code, self.code)

    def as_dict(self) -> dict[str, str]:
        """Return the problem as the members of a problem object (RFC 9457), without its HTTP status."""
        return {"title": self.title, "detail": str(self), **asdict(self)}

    @classmethod
    def from_dict(cls, members: dict[str, str]) -> Self:
        """Return the problem whose ``as_dict`` this is."""
        return cls(members["code"], members["expected"], members["got"], members["hint"])

    def __str__(self) -> str:
        return f"{self.title}: expected {self.expected}, got {self.got}. {self.hint}"


class ProblemError(ValueError):
    """Something the caller sent cannot be used; ``problem`` says what, and what to do."""

    def __init__(self, code: str, *, expected: str, got: str, hint: str) -> None:
        self.problem = Problem(code, expected, got, hint)
        super().__init__(str(self.problem))

    @classmethod
    def of(cls, problem: Problem) -> Self:
        """Return the error of a problem that was found elsewhere."""
        return cls(problem.code, expected=problem.expected, got=problem.got, hint=problem.hint)

"""Problems of requests and score files: one vocabulary for the library, the command line, the API and the pages.

::

    ValueError
    └── ProblemError          has a Problem with code, detail and hint; for a mismatch also with expected and got
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Self


class Kind(NamedTuple):
    """The short title and the HTTP status that all problems with the same code share."""

    title: str
    status: int


PROBLEMS = {
    "scores.unreadable": Kind("The file has no supported format", 422),
    "scores.truncated": Kind("The file does not have the size that its header claims", 422),
    "scores.damaged": Kind("The file is damaged", 422),
    "scores.several": Kind("The file does not hold exactly one array", 422),
    "scores.object": Kind("The file holds pickled Python objects", 422),
    "scores.dtype": Kind("The scores have an unsupported type", 422),
    "scores.shape": Kind("The scores have the wrong shape", 422),
    "scores.transposed": Kind("The scores are transposed", 422),
    "scores.empty": Kind("The file is empty", 422),
    "scores.nonfinite": Kind("The scores are not all finite", 422),
    "masks.invalid": Kind("The subsets cannot be read", 422),
    "margins.invalid": Kind("The margins cannot be used", 422),
    "upload.length_required": Kind("The request does not state its length", 411),
    "upload.too_large": Kind("The file is too large", 413),
    "upload.interrupted": Kind("The upload ended early", 400),
    "upload.encoding": Kind("The content encoding cannot be read", 415),
    "upload.part": Kind("The part does not belong to the upload", 422),
    "upload.incomplete": Kind("Parts of the file are missing", 409),
    "upload.hash": Kind("The file has another hash than announced", 422),
    "upload.expired": Kind("The upload has expired", 410),
    "upload.changed": Kind("The file has changed since the upload began", 422),
    "proxy.refused": Kind("A proxy refused the request", 403),
    "proxy.busy": Kind("A proxy allows no more requests now", 429),
    "auth.missing": Kind("This call needs a token", 401),
    "auth.invalid": Kind("The token is not valid", 401),
    "auth.expired": Kind("The token has expired", 401),
    "auth.owner": Kind("The submission belongs to another user", 403),
    "auth.form": Kind("The form is not from this session", 403),
    "auth.sign_in": Kind("Signing in failed", 502),
    "auth.scope": Kind("The token does not allow this call", 403),
    "auth.role": Kind("The call is for admins only", 403),
    "auth.banned": Kind("The account is banned", 403),
    "auth.method": Kind("The token is for another method", 403),
    "auth.deleted": Kind("The account was deleted", 403),
    "user.unknown": Kind("There is no such user", 404),
    "token.unknown": Kind("There is no such token", 404),
    "publisher.unknown": Kind("There is no such trusted workflow", 404),
    "oidc.invalid": Kind("The identity token cannot be read", 422),
    "oidc.algorithm": Kind("The identity token has an unsupported signature", 422),
    "oidc.issuer": Kind("The issuer of the identity token is not trusted", 422),
    "oidc.key": Kind("The key of the identity token is unknown", 422),
    "oidc.signature": Kind("The signature of the identity token is wrong", 422),
    "oidc.audience": Kind("The identity token is for another server", 422),
    "oidc.expired": Kind("The identity token has expired", 422),
    "oidc.early": Kind("The identity token is not valid yet", 422),
    "oidc.claim": Kind("A claim of the identity token is missing or malformed", 422),
    "oidc.event": Kind("The event of the CI run is not accepted", 422),
    "oidc.publisher": Kind("No trusted workflow matches the CI run", 422),
    "oidc.used": Kind("The identity token was used before", 422),
    "oidc.unavailable": Kind("The keys of the issuer cannot be fetched", 503),
    "rate.exceeded": Kind("Too many requests", 429),
    "quota.approval": Kind("The account has no verified identity", 403),
    "quota.exceeded": Kind("A quota is used up", 429),
    "quota.bytes": Kind("The quota of stored bytes is used up", 413),
    "quota.uploads": Kind("Too many uploads are under way", 429),
    "quota.tokens": Kind("The account has too many tokens", 429),
    "quota.publishers": Kind("The account trusts too many workflows", 429),
    "quota.webhooks": Kind("The account has too many webhooks", 429),
    "webhook.unknown": Kind("There is no such webhook", 404),
    "webhook.address": Kind("The webhook's address cannot be called", 422),
    "benchmark.unknown": Kind("There is no such benchmark", 404),
    "benchmark.retired": Kind("The benchmark is retired", 409),
    "snapshot.unknown": Kind("There is no such snapshot", 404),
    "snapshot.removed": Kind("The snapshot was removed", 410),
    "submission.unknown": Kind("There is no such submission", 404),
    "submission.not_scored": Kind("The submission has no result", 409),
    "submission.busy": Kind("The submission is being received or scored", 409),
    "submission.gone": Kind("The submission is withdrawn or expired already", 409),
    "replicate.different": Kind("The submission is no replicate of the other", 422),
    "compare.different": Kind("The submissions cannot be compared", 409),
    "request.invalid": Kind("The request is not valid", 422),
    "request.not_found": Kind("There is nothing at this address", 404),
    "request.conflict": Kind("The request contradicts an earlier one", 409),
    "request.too_large": Kind("The request is too large", 413),
    "client.outdated": Kind("The client is too old", 422),
    "internal.failed": Kind("The server failed", 500),
    "internal.unready": Kind("The server is not ready", 503),
    "internal.busy": Kind("The server is busy", 503),
    "internal.database": Kind("The database does not answer", 503),
    "internal.storage": Kind("The store of score files does not answer", 503),
    "internal.full": Kind("Insufficient storage", 507),
}
"""The title and HTTP status of every problem code."""


MAX_DETAIL, MAX_SIDE = 1100, 500
"""Largest number of characters of a detail, and of each of the texts expected, got and hint. A message has at most 2,000."""


def shortened(text: str, limit: int) -> str:
    """Return a text of at most `limit` characters: of a longer text, the middle is left out."""
    if len(text) <= limit:
        return text
    half = (limit - 3) // 2
    return f"{text[:half]} … {text[-half:]}"


@dataclass(frozen=True)
class Problem:
    """One problem, with the texts that every interface shows.

    Parameters
    ----------
    code
        A key of `PROBLEMS`, or a code that only a newer server knows.
    detail
        One or two sentences that say what is wrong in this case.
    hint
        One or two sentences that say what to do.
    expected, got
        What was required, and what was found instead. Both are None if the problem is not a mismatch.
    """

    code: str
    detail: str
    hint: str
    expected: str | None = None
    got: str | None = None

    @property
    def title(self) -> str:
        """Short title of the problem; the code, if this version of the library does not know the code."""
        return PROBLEMS[self.code].title if self.code in PROBLEMS else self.code

    def as_dict(self) -> dict[str, str]:
        """Return the members of an RFC 9457 problem object except ``type`` and ``status``; members that are None are left out."""
        return {"title": self.title} | {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, members: dict[str, Any]) -> Self:
        """Build a problem from the members of an RFC 9457 problem object; unknown members are ignored.

        Raises
        ------
        KeyError, TypeError
            A required member is missing, or a member is not a string.
        """
        code, detail, hint = members["code"], members["detail"], members["hint"]
        expected, got = members.get("expected"), members.get("got")
        if not all(isinstance(member, str) for member in (code, detail, hint, expected or "", got or "")):
            raise TypeError("The members of a problem object must be strings.")
        if detail.startswith(f"{members.get('title')}: "):  # older servers repeat the title and the hint in the detail
            detail = f"Expected {expected}, got {got}."
        return cls(code, detail, hint, expected, got)

    def __str__(self) -> str:
        if self.expected is not None:
            return f"{self.title}: expected {self.expected}, got {self.got}. {self.hint}"
        return f"{self.title}. {self.detail} {self.hint}"


class ProblemError(ValueError):
    """A subclass of ValueError for a request or a score file that cannot be used; the attribute ``problem`` says why."""

    def __init__(self, code: str, detail: str, hint: str, expected: str | None = None, got: str | None = None) -> None:
        expected, got = (None if text is None else shortened(text, MAX_SIDE) for text in (expected, got))
        self.problem = Problem(code, shortened(detail, MAX_DETAIL), shortened(hint, MAX_SIDE), expected, got)
        super().__init__(str(self.problem))

    @classmethod
    def mismatch(cls, code: str, *, expected: str, got: str, hint: str) -> Self:
        """Return the error for a value, `got`, that differs from the value that was expected."""
        detail = f"Expected {shortened(expected, MAX_SIDE)}, got {shortened(got, MAX_SIDE)}."
        return cls(code, detail, hint, expected, got)

    @classmethod
    def of(cls, problem: Problem) -> Self:
        """Return an error whose attribute ``problem`` equals `problem`."""
        return cls(problem.code, problem.detail, problem.hint, problem.expected, problem.got)

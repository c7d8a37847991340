"""Field types of the metadata of a submission, for the API and the pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from app.accounts.identity_tokens import MAX_LENGTH
from app.submissions.visibility import WITHHELD

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

# All characters with the Unicode property Bidi_Control, which can show text in another order than the stored order.
_BIDI = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_LINE = rf"^[^\x00-\x1f\x7f-\x9f\u2028\u2029{_BIDI}]*$"
_LINES = rf"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f{_BIDI}]*$"
_LINK = rf"^https?://[^\s\x00-\x1f\x7f-\x9f{_BIDI}]+$"
_METHOD = r"^[a-z0-9][a-z0-9._-]{0,63}$"
_TAG = r"^[a-z0-9][a-z0-9-]{0,31}$"
_COMMIT = "^[0-9a-f]{7,64}$"
_SHA256 = "^[0-9a-f]{64}$"
_SUBMISSION = "^[0-9a-f]{16}$"
DAY_PATTERN = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_IDENTITY_TOKEN = "^[A-Za-z0-9_.=-]+$"  # noqa: S105 -- the pattern of a token

PATTERN_DESCRIPTIONS = {
    _LINE: "one line, without control characters",
    _LINES: "lines of text, without control characters",
    _LINK: "an address that begins with http:// or https://, without spaces and control characters",
    _METHOD: "1 to 64 lower-case letters, digits, '.', '_' and '-', beginning with a letter or digit",
    _TAG: "1 to 32 lower-case letters, digits and '-', beginning with a letter or digit",
    _COMMIT: "7 to 64 hexadecimal digits in lower case",
    DAY_PATTERN: "a day as YYYY-MM-DD",
    _SHA256: "64 hexadecimal digits in lower case",
    _SUBMISSION: "the id of a submission, 16 hexadecimal digits in lower case",
    _IDENTITY_TOKEN: "a JSON Web Token: letters, digits, '.', '_', '=' and '-'",
}
"""Description of each pattern for error messages."""


def expected_value(error: ErrorDetails) -> str:
    """Return a description of the values that a field may have; `error` is the error that pydantic reports for the field."""
    return PATTERN_DESCRIPTIONS.get(error.get("ctx", {}).get("pattern", ""), error["msg"])


def _check_not_reserved(method: str) -> str:
    if method == WITHHELD:
        raise PydanticCustomError(
            "reserved", f"a method name other than {WITHHELD!r}, the name shown for anonymous entries"
        )
    return method


Method = Annotated[str, StringConstraints(pattern=_METHOD), AfterValidator(_check_not_reserved)]
Title = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200, pattern=_LINE)]
Description = Annotated[str, StringConstraints(max_length=2000, pattern=_LINES)]
Tag = Annotated[str, StringConstraints(pattern=_TAG)]
Tags = Annotated[list[Tag], Field(max_length=8)]
Device = Annotated[str, StringConstraints(strip_whitespace=True, max_length=100, pattern=_LINE)]
Repository = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200, pattern=_LINE)]
Branch = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255, pattern=_LINE)]
RequestNumber = Annotated[int, Field(ge=1, lt=2**31)]
Commit = Annotated[str, StringConstraints(pattern=_COMMIT)]
Link = Annotated[str, StringConstraints(max_length=500, pattern=_LINK)]
SubmissionId = Annotated[str, StringConstraints(strip_whitespace=True, pattern=_SUBMISSION)]
Sha256 = Annotated[str, StringConstraints(pattern=_SHA256)]
IdentityToken = Annotated[str, StringConstraints(max_length=MAX_LENGTH, pattern=_IDENTITY_TOKEN)]

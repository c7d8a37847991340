"""What people may say of a submission, wherever they say it: with its file, in an edit, or on a page."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

# All characters with the property Bidi_Control: they show a text in another order than it has.
_BIDI = r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"

Title = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=200, pattern=rf"^[^\x00-\x1f\x7f-\x9f\u2028\u2029{_BIDI}]*$"),
]
"""One line, without control characters."""

Description = Annotated[
    str, StringConstraints(max_length=2000, pattern=rf"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f{_BIDI}]*$")
]
"""Lines and tabs, and no other control characters."""

Tag = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
Tags = Annotated[list[Tag], Field(max_length=8)]

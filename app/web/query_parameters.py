"""Validation of query parameter names: the API rejects unknown parameters; API and pages reject repeated ones except lists."""

from __future__ import annotations

from collections import Counter
from difflib import get_close_matches
from typing import get_origin

from fastapi import Request
from fastapi.dependencies.models import Dependant
from pydantic import BaseModel

from ldsboard.problems import ProblemError

PREFIX = "/api/v1"
"""Path prefix of the API."""


async def check_query_names(request: Request) -> None:
    """Reject unknown query parameters, so that a misspelt ``dry_run`` does not become a counted submission.

    Repeated parameters are rejected too, except lists such as ``tags``.

    Raises
    ------
    ProblemError
        ``request.invalid``: a parameter is unknown or repeated; the message lists the first of these names.
    """
    known = _parameters(request.scope["route"].dependant)
    if unknown := [name for name in dict.fromkeys(request.query_params) if name not in known]:
        allowed = f"only the query parameters {', '.join(known)}" if known else "no query parameters"
        close = dict.fromkeys(match for name in unknown for match in get_close_matches(name, known, 1))
        hint = f"Did you mean {', '.join(close)}? " if close else ""
        raise _rejected("Unknown", allowed, unknown, f"{hint}Nothing was done.")
    await check_repeated_names(request)


async def check_repeated_names(request: Request) -> None:
    """Reject repeated query parameters that the page or call accepts only once.

    Raises
    ------
    ProblemError
        ``request.invalid``: a parameter is repeated; the message lists the names.
    """
    known = _parameters(request.scope["route"].dependant)
    counts = Counter(name for name, _ in request.query_params.multi_items())
    if repeated := [name for name, count in counts.items() if count > 1 and not known.get(name, True)]:
        raise _rejected("Repeated", "each query parameter once", repeated, "Give each of these once. Nothing was done.")


def _parameters(dependant: Dependant) -> dict[str, bool]:
    """Map the name of each query parameter of a route to whether the parameter is a list, and may therefore be repeated."""
    found: dict[str, bool] = {}
    for field in dependant.query_params:
        annotation = field.field_info.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            found |= {name: get_origin(info.annotation) is list for name, info in annotation.model_fields.items()}
        else:
            found[field.alias] = get_origin(annotation) is list
    for dependency in dependant.dependencies:
        found |= _parameters(dependency)
    return found


def _rejected(kind: str, expected: str, names: list[str], hint: str) -> ProblemError:
    got = ", ".join(repr(name[:40]) for name in names[:5])
    return ProblemError("request.invalid", f"{kind} query parameters: {got}.", hint, expected, got)

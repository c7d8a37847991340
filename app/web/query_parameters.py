"""Validation of query parameter names: unknown and repeated parameters are rejected."""

from __future__ import annotations

from collections import Counter
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from fastapi import Request

from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from fastapi.routing import APIRoute


PREFIX = "/api/v1"
"""Path prefix of the API."""


async def check_query_names(request: Request) -> None:
    """Reject unknown and repeated query parameters, so that a misspelt ``dry_run`` does not become a counted submission.

    The known parameters of a call are those in its OpenAPI description.

    Raises
    ------
    ProblemError
        ``request.invalid``, with the names.
    """
    counts = Counter(name for name, _ in request.query_params.multi_items())
    if not counts:
        return
    known = _known_names(request)
    allowed = f"only the query parameters {', '.join(known)}" if known else "no query parameters"
    if unknown := [name for name in counts if name not in known]:
        close = dict.fromkeys(match for name in unknown for match in get_close_matches(name, known, 1))
        hint = f"Did you mean {', '.join(close)}? " if close else ""
        raise _refused(allowed, unknown, f"{hint}Nothing was done.")
    if repeated := [name for name, count in counts.items() if count > 1]:
        raise _refused("each query parameter once", repeated, "Give each of these once. Nothing was done.")


def _known_names(request: Request) -> list[str]:
    route: APIRoute = request.scope["route"]
    path = PREFIX + route.path_format.removeprefix(PREFIX)  # the route of an included router lacks the prefix
    call: dict[str, Any] = request.app.openapi()["paths"][path][request.method.lower()]
    return [parameter["name"] for parameter in call.get("parameters", ()) if parameter["in"] == "query"]


def _refused(expected: str, names: list[str], hint: str) -> ProblemError:
    got = ", ".join(repr(name[:40]) for name in names[:5])
    return ProblemError.mismatch("request.invalid", expected=expected, got=got, hint=hint)

"""Check of the header in which the LDSBoard client states its version, because the server does not support old clients."""

from __future__ import annotations

import re

from fastapi import Request

from ldsboard.client import VERSION_HEADER
from ldsboard.problems import ProblemError

OLDEST = (0, 1, 0)
"""The oldest version of the client that this server works with."""


async def check_client_version(request: Request) -> None:
    """Reject a request whose version header names a version before `OLDEST`; requests without the header pass.

    Raises
    ------
    ProblemError
        ``client.outdated``: the version is too old.
        ``request.invalid``: the header does not hold a version.
    """
    stated = request.headers.get(VERSION_HEADER)
    if stated is None:
        return
    if not (match := re.match(r"(\d{1,9})\.(\d{1,9})\.(\d{1,9})(?!\d)", stated)):
        raise ProblemError.mismatch(
            "request.invalid",
            expected=f"a version such as 1.2.3 in the header {VERSION_HEADER}",
            got=repr(stated[:40]),
            hint="Send the version of the client, or omit the header.",
        )
    if tuple(map(int, match.groups())) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise ProblemError.mismatch(
            "client.outdated",
            expected=f"ldsboard {oldest} or newer",
            got=f"ldsboard {stated[:40]}",
            hint="Upgrade the client: python -m pip install --upgrade ldsboard",
        )

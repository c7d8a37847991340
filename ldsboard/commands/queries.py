"""Calls of the API that only commands make: the account of the user, the history of a method, review links, and dry runs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ldsboard.sending import counted, read

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ldsboard.client import Client

NESTED = ("cost", "provenance")
"""Fields that are nested in JSON, and not in the query of a dry run."""


def account(client: Client) -> dict[str, Any]:
    """Return the account that the client's token belongs to."""
    return client.ask("GET", "/users/me", {"name": str, "role": str, "token": dict})


def history(client: Client, benchmark: str, **query: str | None) -> dict[str, Any]:
    """Return one page of the history of a method: the member ``rows``, newest first, and the member ``next``.

    ``next`` is the value of the query parameter ``before`` for the next page, or None on the last page.

    `query` holds the query parameters of the request. A parameter whose value is None is not sent.
    """
    stated = {name: value for name, value in query.items() if value is not None}
    url = f"/benchmarks/{quote(benchmark, safe='')}/history"
    return client.ask("GET", url, {"rows": list, "next": str | None}, params=stated)


def make_review_link(client: Client, submission_id: str) -> dict[str, Any]:
    """Make a review link of a submission of the user, and end an earlier link; the member ``url`` of the answer is the link."""
    return client.ask("POST", _review_link(submission_id), {"url": str, "created_at": str})


def withdraw_review_link(client: Client, submission_id: str) -> dict[str, Any]:
    """Withdraw the review link of a submission; the member ``withdrawn`` of the answer tells whether there was a link."""
    return client.ask("DELETE", _review_link(submission_id), {"withdrawn": bool})


def _review_link(submission_id: str) -> str:
    return f"/submissions/{quote(submission_id, safe='')}/review-link"


def dry_run(
    client: Client, benchmark: str, path: Path, fields: dict[str, Any], advance: Callable[[int], None]
) -> dict[str, Any]:
    """Let the server check a score file and the fields of a submission; nothing is saved or counted.

    Parameters
    ----------
    client
        Client with a token of the submitter.
    benchmark
        Name of the benchmark.
    path
        The score file, which is sent in one request.
    fields
        The fields of ``POST /api/v1/submissions``.
    advance
        Function that shows progress: each call states how many more bytes were sent. If the file must be sent again, a call
        with a negative number first takes back the bytes of the failed attempt.

    Returns
    -------
    dict
        The answer of a server that would accept the submission.

    Raises
    ------
    RefusedError
        The server would not accept the submission.
    UnreachableError
        The server gave no answer.
    """
    size = path.stat().st_size
    query = {name: value for name, value in fields.items() if name not in NESTED}
    for name in NESTED:
        query |= fields.get(name) or {}
    params = {name: value for name, value in query.items() if value is not None} | {"dry_run": "true"}
    url = f"/benchmarks/{quote(benchmark, safe='')}/submissions"
    headers = {"Content-Length": str(size)}
    body = counted(partial(read, path, 0, size), advance)
    return client.ask("PUT", url, {"benchmark": dict, "sha256": str}, params=params, content=body, headers=headers)

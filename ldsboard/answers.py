"""Judge the answers to calls: whether an answer comes from the server, a proxy in front of it, or something else.

Something else is, for example, the sign-in page of a network.

::

    ClientError
    ├── RefusedError          the server, or a proxy in front of the server, refused the call
    └── UnreachableError      there was no answer after all retries, or something else answered
"""

from __future__ import annotations

import html
import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import httpx

from ldsboard.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_RETRY_AFTER_SECONDS, MAX_RETRY_AFTER = 60.0, 366 * 24 * 3600.0
"""In seconds: the longest ``Retry-After`` after which a call is retried, and the largest `RefusedError.retry_after`."""

SERVER_ERROR, TOO_MANY_REQUESTS, REQUEST_TIMEOUT = 500, 429, 408
RETRIED_STATUSES = frozenset({REQUEST_TIMEOUT, SERVER_ERROR, 502, 503, 504})
NOT_HERE = frozenset({404, REQUEST_TIMEOUT, 410})
"""Statuses 4xx that do not count as a refusal by a proxy: nothing is at the address, or a proxy waited too long."""

QUOTED_CHARACTERS, READ_CHARACTERS = 200, 100_000
"""How many characters of a foreign answer a message quotes, and how many are searched for its words."""

MESSAGES = ("title", "detail", "message", "error_description", "error", "msg")
"""Members in which JSON of other services states what is wrong, in the order in which they are searched."""

OBJECT_OR_NULL = (dict, type(None))
SUBMISSION = {
    "id": str,
    "state": str,
    "links": dict,
    "hidden": OBJECT_OR_NULL,
    "public": OBJECT_OR_NULL,
    "error": OBJECT_OR_NULL,
}
UPLOAD = {"id": str, "state": str, "parts": list, "expires_at": str}
BOARD = {"benchmark": str, "version": int, "rows": list, "next": (str, type(None))}
COMPARISON = {"difference": (int, float), "std_error": object, "p_value": object, "part": str}
"""Members, with their types, by which answers of an LDSBoard server are distinguished from the JSON of other services."""


class ClientError(Exception):
    """The base class of the errors of calls to a server."""


class RefusedError(ClientError):
    """The error for a call that the server, or a proxy before the server, refused.

    Attributes
    ----------
    problem : Problem
        The reason. A code that begins with ``proxy.`` means that a proxy refused the call, and not the server.
    status : int
        HTTP status of the response.
    retry_after : float or None
        Number of seconds after which a retry is allowed; None if the answer states no time.
    final : bool
        Whether a retry of the same call would be refused too.
    """

    def __init__(self, problem: Problem, status: int, retry_after: float | None) -> None:
        self.problem, self.status, self.retry_after = problem, status, retry_after
        passing = status in (REQUEST_TIMEOUT, TOO_MANY_REQUESTS) or problem.code == "upload.interrupted"
        self.final = 400 <= status < SERVER_ERROR and not passing  # noqa: PLR2004 -- client errors
        super().__init__(f"{problem} [{problem.code}]")


class UnreachableError(ClientError):
    """The error for a call without an answer of the server: none came after all retries, or something else answered."""


def checked(response: httpx.Response) -> httpx.Response:
    """Return the given response if its status is 2xx, and raise an error otherwise.

    Raises
    ------
    RefusedError
        The server refused the call, or a proxy did: ``proxy.refused``, ``proxy.busy``.
    UnreachableError
        Something else than an LDSBoard server answered.
    """
    if response.is_success:
        return response
    problem = problem_of(response)
    raise foreign(response) if problem is None else RefusedError(problem, response.status_code, retry_after(response))


def allows_retry(response: httpx.Response) -> bool:
    """Return whether a call that got this response should be repeated.

    The response must mean a temporary failure. If the response asks for a pause (``Retry-After``), the pause must be at most
    `MAX_RETRY_AFTER_SECONDS` long.
    """
    if response.is_success:
        return False
    after, problem = retry_after(response), problem_of(response)
    retried = response.status_code in RETRIED_STATUSES
    if response.status_code == TOO_MANY_REQUESTS:
        retried = after is not None or problem is None
    if problem is not None and problem.code == "upload.interrupted":  # a proxy sent only the beginning of the body
        retried = True
    return retried and (after or 0.0) <= MAX_RETRY_AFTER_SECONDS


def raise_unless_unavailable(response: httpx.Response) -> None:
    """Raise the error for the response to the last attempt of a call, unless the response says that the server is unavailable.

    A response with a problem object of the server means an unavailable server if the status is neither 500 nor 429. This function
    then raises nothing, and the caller raises the same error as after attempts without a response.

    Raises
    ------
    RefusedError
        The server refused the call with status 500 or 429, or a proxy refused the call.
    UnreachableError
        Something else than an LDSBoard server answered.
    """
    if problem_of(response) is None or response.status_code in (SERVER_ERROR, TOO_MANY_REQUESTS):
        checked(response)


def refusal_by_proxy(error: BaseException, server: str) -> RefusedError | None:
    """Return the error to raise if `error` means that a proxy refused to connect to the server; None for any other cause.

    A proxy refuses by a response with a status 4xx.
    """
    status, _, reason = str(error).partition(" ")
    if not isinstance(error, httpx.ProxyError) or not re.fullmatch("4[0-9][0-9]", status):
        return None
    detail = f"The proxy of this network answered with status {status} ({_line(reason)}) to a connection to {server}."
    hint = "Sign in to the proxy, or ask its operator to let the connection pass. No LDSBoard server sent the answer."
    return RefusedError(Problem("proxy.refused", detail, hint), int(status), None)


def members(response: httpx.Response, expected: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON object in a successful response, after a check that the object has the expected members.

    The check distinguishes the answers of an LDSBoard server from the JSON of other services.

    Parameters
    ----------
    response
        A successful response.
    expected
        Name of each member that the object must have, and the type of the member's value, as `isinstance` takes types.

    Raises
    ------
    UnreachableError
        The response is not an object with these members, so something else than an LDSBoard server answered.
    """
    with suppress(ValueError, RecursionError):
        answer = response.json()
        if isinstance(answer, dict) and all(
            name in answer and isinstance(answer[name], kind) for name, kind in expected.items()
        ):
            return answer
    raise foreign(response)


def problem_of(response: httpx.Response) -> Problem | None:
    """Return the problem object in a response of an LDSBoard server; None if the response has no such object."""
    with suppress(ValueError, KeyError, TypeError, RecursionError):
        return Problem.from_dict(response.json())
    return None


def foreign(response: httpx.Response) -> ClientError:
    """Return the error for a response that no LDSBoard server sent; the message quotes the words of the response."""
    status, url = response.status_code, response.request.url
    address = f"{url.scheme}://{url.netloc.decode('ascii', 'replace')}{url.path}"  # without any password
    detail = f'{address} answered with status {status} and these words: "{words(response)}"'
    if status == TOO_MANY_REQUESTS:
        problem = Problem(
            "proxy.busy", detail, "The answer is not from an LDSBoard server. Send the request again later."
        )
        return RefusedError(problem, status, retry_after(response))
    if 400 <= status < SERVER_ERROR and status not in NOT_HERE:  # noqa: PLR2004 -- client errors
        return RefusedError(Problem("proxy.refused", detail, _advice(response)), status, retry_after(response))
    target = response.headers.get("Location")
    redirect = f" It redirects to {_line(target)}." if target and response.is_redirect else ""
    return UnreachableError(
        f"{detail}.{redirect} This is not the answer of an LDSBoard server. Check LDSBOARD_SERVER (or --server), and "
        "whether this network asks you to sign in first."
    )


def _advice(response: httpx.Response) -> str:
    """Return what the user can do after a proxy has refused a request."""
    size = response.request.headers.get("Content-Length")
    if response.status_code == 413 and size:  # noqa: PLR2004 -- content too large
        return f"Ask the operator of the proxy to allow request bodies of {size} bytes. No LDSBoard server sent the answer."
    return "Ask the operator of the proxy to let the request pass. No LDSBoard server sent the answer."


def words(response: httpx.Response) -> str:
    """Return what a foreign response says, as one line: the title of a page, the message in JSON, or the text itself."""
    text = response.text[:READ_CHARACTERS]
    with suppress(ValueError, RecursionError):
        return _line(_message(json.loads(text)) or text)
    title = re.search(r"<title[^>]*>(.*?)</title", text, re.DOTALL | re.IGNORECASE)
    shown = title[1] if title else re.sub(r"<(script|style)\b.*?</\1\s*>", " ", text, flags=re.DOTALL | re.IGNORECASE)
    line = _line(html.unescape(re.sub(r"<[^>]*(>|$)", " ", shown)))
    return line or response.reason_phrase or "no text"


def _message(answer: Any) -> str:
    """Return the first text in a JSON object, in the order of the names `MESSAGES`; an empty text if there is none.

    Where the value under such a name is an object, this function searches that object in the same way.
    """
    if isinstance(answer, dict):
        found = (answer[name] for name in MESSAGES if name in answer)
        return next((text for value in found if (text := value if isinstance(value, str) else _message(value))), "")
    return ""


def _line(text: str) -> str:
    """Return the beginning of a text as one line without control characters."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    line = " ".join(printable.split())
    return line if len(line) <= QUOTED_CHARACTERS else f"{line[: QUOTED_CHARACTERS - 1]}…"


def retry_after(response: httpx.Response) -> float | None:
    """Return the number of seconds in ``Retry-After``, which states seconds or a date; None if it states neither."""
    value = response.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]+", value):
        return min(float(value), MAX_RETRY_AFTER)
    with suppress(ValueError):
        moment = parsedate_to_datetime(value)
        seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
        return min(max(seconds, 0.0), MAX_RETRY_AFTER)
    return None

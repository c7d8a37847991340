"""HTTP client of an LDSBoard server.

::

    ClientError
    ├── RefusedError          the server refused the call; has the problem, the status, and when to retry
    └── UnreachableError      the server gave no answer, after all retries
"""

from __future__ import annotations

import io
import random
import threading
import time
import zipfile
from contextlib import suppress
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urljoin

import httpx
from tenacity import Retrying, retry_if_exception, sleep_using_event, stop_after_attempt, stop_when_event_set

from ldsboard import cache
from ldsboard.bundle import Bundle
from ldsboard.drafts import atomic_folder
from ldsboard.manifest import BundleError
from ldsboard.problems import Problem, ProblemError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tenacity import RetryCallState

    Content = Callable[[], Iterator[bytes]]

VERSION_HEADER = "LDSBoard-Client"
"""Name of the request header that states the version of this client."""

ATTEMPTS, PART_ATTEMPTS = 4, 8
"""Largest numbers of attempts, for most calls and for upload parts. Repeating a part costs less than a whole new upload."""

PAUSE_SECONDS = 0.5
"""The pause before retry k is random, between 0.5 and 1 times ``PAUSE_SECONDS * min(2**k, 64)`` seconds."""

MAX_RETRY_AFTER_SECONDS, MAX_RETRY_AFTER = 60.0, 366 * 24 * 3600.0
"""In seconds: the longest ``Retry-After`` after which a call is retried, and the largest `RefusedError.retry_after`."""

SERVER_ERROR, TOO_MANY_REQUESTS = 500, 429
RETRIED_STATUSES = frozenset({SERVER_ERROR, 502, 503, 504})
FINAL_STATES = frozenset({"scored", "rejected", "failed", "expired", "withdrawn"})
"""States that a submission leaves only when it is rescored or withdrawn."""


class ClientError(Exception):
    """The error for a call to the server that failed."""


class RefusedError(ClientError):
    """The error for a call that the server refused.

    Attributes
    ----------
    problem : Problem
        The reason.
    status : int
        HTTP status of the response.
    retry_after : float or None
        Number of seconds after which the server allows a retry; None if the server states no number.
    final : bool
        Whether a retry of the same call would be refused too.
    """

    def __init__(self, problem: Problem, status: int, retry_after: float | None) -> None:
        self.problem, self.status, self.retry_after = problem, status, retry_after
        interrupted = problem.code == "upload.interrupted"
        self.final = 400 <= status < 500 and status not in (408, TOO_MANY_REQUESTS) and not interrupted  # noqa: PLR2004 -- client errors
        super().__init__(f"{problem} [{problem.code}]")


class UnreachableError(ClientError):
    """The error for a call to which the server gave no answer, after all retries."""


class Client:
    """A connection to one LDSBoard server; a context manager.

    Failed calls are retried with increasing random pauses. Every method that calls the server raises `RefusedError` or
    `UnreachableError`.

    Parameters
    ----------
    server
        Address of the server; by default ``LDSBOARD_SERVER``, or ``http://localhost:8000``.
    token
        Bearer token, needed to submit and to see private submissions.

    Raises
    ------
    ProblemError
        ``auth.invalid``: the token has characters that are not allowed in tokens.
    """

    def __init__(self, server: str | None = None, token: str | None = None) -> None:
        self.server = (server or cache.default_server()).rstrip("/")
        token = (token or "").strip()
        if not token.isascii() or not token.isprintable():
            # The message does not quote the token: most of it may be a valid secret.
            raise ProblemError(
                "auth.invalid",
                "A token consists of letters, digits, '-' and '_', but this token has other characters.",
                "Copy the token again, without line breaks.",
            )
        headers = {VERSION_HEADER: version("ldsboard")} | ({"Authorization": f"Bearer {token}"} if token else {})
        remote = httpx.URL(self.server).host not in ("localhost", "127.0.0.1", "::1")
        timeout = httpx.Timeout(60, connect=10)
        self._closed = threading.Event()
        # A proxy in the environment cannot reach a server on this machine. `trust_env=False` ignores the proxy.
        self._http = httpx.Client(base_url=f"{self.server}/api/v1", headers=headers, timeout=timeout, trust_env=remote)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, and end all calls and pauses, including those in other threads."""
        self._closed.set()
        self._http.close()

    def benchmark(self, name: str) -> dict[str, Any]:
        """Return the newest version of a benchmark, as the server describes it."""
        return self._json("GET", f"/benchmarks/{_segment(name)}")

    def leaderboard(self, name: str) -> dict[str, Any]:
        """Return the leaderboard of a benchmark, with the rows of all pages."""
        board = page = self._json("GET", f"/benchmarks/{_segment(name)}/leaderboard")
        while page["next"]:
            page = self._json("GET", f"{self.server}{page['next']}")
            board["rows"] += page["rows"]
        return board | {"next": None}

    def submission(self, submission_id: str, *, wait: float = 0) -> dict[str, Any]:
        """Return a submission. The server answers when the state of the submission changes, or after `wait` seconds."""
        return self._json("GET", f"/submissions/{_segment(submission_id)}", params={"wait": wait})

    def compare(self, a: str, b: str) -> dict[str, Any]:
        """Return the paired comparison of two submissions, given by id: the LDS of `a` minus the LDS of `b`."""
        return self._json("GET", "/compare", params={"a": a, "b": b})

    def start_upload(self, announced: dict[str, Any], key: str) -> dict[str, Any]:
        """Start a multipart upload, and return the upload with the upload token.

        `announced` has the fields of the submission. A repeated call with the same idempotency `key` creates nothing new.
        """
        return self._json("POST", "/submissions", json=announced, headers={"Idempotency-Key": key})

    def upload(self, upload_id: str) -> dict[str, Any]:
        """Return an upload and its upload parts; the client needs the upload token, or a token of the owner."""
        return self._json("GET", f"/submissions/{_segment(upload_id)}/parts")

    def send_part(self, url: str, content: Content, size: int) -> None:
        """Send an upload part of `size` bytes to the `url` that the upload states.

        Each attempt calls `content`, which returns an iterator over the bytes.
        """
        self._call("PUT", urljoin(self.server, url), PART_ATTEMPTS, content, headers={"Content-Length": str(size)})

    def complete(self, upload_id: str) -> dict[str, Any]:
        """Complete an upload after all upload parts have arrived, and return the submission."""
        return self._json("POST", f"/submissions/{_segment(upload_id)}/complete")

    def wait(self, submission_id: str, timeout: float) -> dict[str, Any]:
        """Return a submission once its state is final, or in its current state after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        submission: dict[str, Any] = {}
        while True:
            left = max(0.0, deadline - time.monotonic())
            before, submission = submission, self.submission(submission_id, wait=min(25.0, left))
            if submission["state"] in FINAL_STATES or left == 0:
                return submission
            if submission == before:  # the server answered at once, because too many clients wait
                self._closed.wait(min(PAUSE_SECONDS, left))

    def pull(self, name: str) -> Path:
        """Download and verify the public part of a benchmark, including the kit, and return the benchmark folder in the cache.

        Nothing is downloaded if the cache holds an intact copy of the current version.
        """
        shown = self.benchmark(name)
        target = cache.folder(self.server, shown["name"], shown["version"])
        with suppress(BundleError):  # download a version that is absent, altered or damaged
            return Bundle.open(target).folder
        version = {"version": shown["version"]}
        with atomic_folder(target) as draft:
            for file in ("public.npz", "kit.zip"):
                content = self._call("GET", f"/benchmarks/{_segment(name)}/{file}", params=version).content
                with zipfile.ZipFile(io.BytesIO(content)) as archive:
                    archive.extractall(draft / "public")
            Bundle.open(draft)
        return target

    def _json(self, method: str, url: str, **options: Any) -> dict[str, Any]:
        response = self._call(method, url, **options)
        with suppress(ValueError):
            answer = response.json()
            if isinstance(answer, dict):
                return answer
        raise _foreign_answer(response)

    def _call(
        self, method: str, url: str, attempts: int = ATTEMPTS, content: Content | None = None, **options: Any
    ) -> httpx.Response:
        """Send a request, repeat it after connection errors and after responses that allow a retry, and return the response.

        The server can receive a request twice. A request that creates something therefore carries an idempotency key.
        """

        def attempt() -> httpx.Response:
            if self._closed.is_set():
                raise UnreachableError("The client was closed during a call.")
            response = self._http.request(method, url, content=content and content(), **options)
            after = _retry_after(response) or 0.0
            retried = response.status_code in RETRIED_STATUSES or (response.status_code == TOO_MANY_REQUESTS and after)
            if retried and after <= MAX_RETRY_AFTER_SECONDS:
                raise _RetriedError(response, after)
            return _raise_for_problem(response)

        retrying = Retrying(
            retry=retry_if_exception(_is_retried),
            stop=stop_after_attempt(attempts) | stop_when_event_set(self._closed),
            wait=_pause,
            sleep=sleep_using_event(self._closed),
            reraise=True,
        )
        try:
            return retrying(attempt)
        except httpx.UnsupportedProtocol as error:
            raise UnreachableError(
                f"Invalid server address {self.server}: expected an address such as {cache.DEFAULT_SERVER}."
            ) from error
        except httpx.DecodingError as error:
            raise UnreachableError(f"The answer of {self.server} cannot be decompressed: {error}.") from error
        except (_RetriedError, httpx.TransportError) as error:
            if isinstance(error, _RetriedError) and error.response.status_code == SERVER_ERROR:
                return _raise_for_problem(error.response)
            raise UnreachableError(
                f"No answer from {self.server} in {attempts} attempts ({str(error) or type(error).__name__}). "
                "Check LDSBOARD_SERVER (or --server), and that the server is running."
            ) from error


class _RetriedError(Exception):
    """The error for a response that allows a retry after at least `after` seconds."""

    def __init__(self, response: httpx.Response, after: float) -> None:
        self.response, self.after = response, after
        super().__init__(f"status {response.status_code}")


def _is_retried(error: BaseException) -> bool:
    return isinstance(error, _RetriedError | httpx.TransportError) and not isinstance(error, httpx.UnsupportedProtocol)


def _pause(state: RetryCallState) -> float:
    """Return the seconds to wait before the next attempt, at random, so that clients do not all retry at the same time."""
    error = state.outcome.exception() if state.outcome else None
    backoff: float = PAUSE_SECONDS * min(2**state.attempt_number, 64) * random.uniform(0.5, 1)  # noqa: S311 -- not cryptographic
    return max(backoff, error.after if isinstance(error, _RetriedError) else 0.0)


def _segment(text: str) -> str:
    """Percent-encode a name or an id as one path segment; return ``-`` for an empty text or for dots alone."""
    return quote(text, safe="") if text.strip(".") else "-"


def _raise_for_problem(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    try:
        problem = Problem.from_dict(response.json())
    except (ValueError, KeyError, TypeError):
        raise _foreign_answer(response) from None
    raise RefusedError(problem, response.status_code, _retry_after(response))


def _foreign_answer(response: httpx.Response) -> RefusedError:
    """Return the error for an answer that the LDSBoard API did not send, for instance the answer of a proxy."""
    status, text = response.status_code, response.text[:200]
    detail = f"{response.url} did not answer as an LDSBoard server (status {status}): {text}"
    problem = Problem("internal.failed", detail, "Check LDSBOARD_SERVER (or --server).")
    return RefusedError(problem, status, _retry_after(response))


def _retry_after(response: httpx.Response) -> float | None:
    value = response.headers.get("Retry-After", "")
    return min(float(value), MAX_RETRY_AFTER) if value.isdecimal() else None

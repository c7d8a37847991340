"""HTTP client of an LDSBoard server. `ldsboard.answers` has the errors that calls raise."""

from __future__ import annotations

import io
import random
import threading
import time
import zipfile
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urljoin

import httpx
from tenacity import Retrying, retry_if_exception, sleep_using_event, stop_after_attempt, stop_when_event_set

from ldsboard import answers, background, cache
from ldsboard.answers import BOARD, COMPARISON, SUBMISSION, UPLOAD, ClientError, RefusedError, UnreachableError
from ldsboard.bundle import Bundle
from ldsboard.drafts import atomic_folder
from ldsboard.locks import lock
from ldsboard.manifest import BundleError
from ldsboard.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tenacity import RetryCallState

    Content = Callable[[], Iterator[bytes]]

__all__ = ["FINAL_STATES", "VERSION_HEADER", "Client", "ClientError", "RefusedError", "UnreachableError"]

VERSION_HEADER = "LDSBoard-Client"
"""Name of the request header that states the version of this client."""

ATTEMPTS, PART_ATTEMPTS = 4, 8
"""Largest numbers of attempts, for most calls and for upload parts. Repeating a part costs less than a whole new upload."""

PAUSE_SECONDS = 0.5
"""The pause before retry k is random, between 0.5 and 1 times ``PAUSE_SECONDS * min(2**k, 32)`` seconds."""

TIMEOUT_SECONDS, HURRIED_SECONDS = 60.0, 3.0
"""How long a call waits for the next bytes of the server: usually, and if a user waits for the end of the program."""

LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
"""Hosts of servers on this machine, which a proxy in the environment cannot reach."""

FINAL_STATES = frozenset({"scored", "rejected", "failed", "expired", "withdrawn"})
"""States that a submission leaves only when it is rescored or withdrawn."""


class Client:
    """A connection to one LDSBoard server; a context manager.

    Failed calls are retried with increasing random pauses. Every method that calls the server can raise `RefusedError` and
    `UnreachableError`.

    Parameters
    ----------
    server
        Address of the server; by default ``LDSBOARD_SERVER``, or ``http://localhost:8000``.
    token
        Bearer token, or a function that is called with `hurried` before each request and returns the token. A token is needed
        to submit and to see private submissions.
    hurried
        Whether each call has only one attempt of a few seconds.

    Raises
    ------
    ProblemError
        ``auth.invalid``: the token has characters that are not allowed in tokens.
        ``request.invalid``: the address of the server, or of a proxy in the environment, is not valid.
    """

    def __init__(
        self, server: str | None = None, token: str | Callable[[bool], str] | None = None, *, hurried: bool = False
    ) -> None:
        self.server = cache.server_address(server)
        self._token = (token or "").strip() if not callable(token) else token
        self._hurried, self.has_token, self.uses_identity = hurried, bool(self._token), callable(token)
        if isinstance(self._token, str) and not (self._token.isascii() and self._token.isprintable()):
            # The message does not quote the token: most of it may be a valid secret.
            raise ProblemError(
                "auth.invalid",
                "A token consists of letters, digits, '-' and '_', but this token has other characters.",
                "Copy the token again, without line breaks.",
            )
        self._closed = threading.Event()
        self._http = self._connection()

    def _connection(self) -> httpx.Client:
        timeout = httpx.Timeout(HURRIED_SECONDS if self._hurried else TIMEOUT_SECONDS, connect=10)
        try:
            remote = httpx.URL(self.server).host not in LOCAL_HOSTS
            return httpx.Client(
                base_url=f"{self.server}/api/v1",
                headers={VERSION_HEADER: version("ldsboard")},
                auth=self._authorize,
                timeout=timeout,
                trust_env=remote,  # False: no proxy
            )
        except (httpx.InvalidURL, ValueError, ImportError) as error:
            raise ProblemError(
                "request.invalid",
                f"The address of the server, {self.server[:100]!r}, or of a proxy before it cannot be used: {error}.",
                "Correct LDSBOARD_SERVER (or --server), and the variables HTTP_PROXY, HTTPS_PROXY and ALL_PROXY.",
            ) from error

    def _authorize(self, request: httpx.Request) -> httpx.Request:
        token = self._token(self._hurried) if callable(self._token) else self._token
        if token:
            request.headers["Authorization"] = f"Bearer {token}"
        return request

    def hurried(self, token: str | None = None) -> Client:
        """Return a new client with one attempt of a few seconds for each call; `token` is by default that of this client."""
        return Client(self.server, self._token if token is None else token, hurried=True)

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
        return self._json("GET", f"/benchmarks/{_segment(name)}", {"name": str, "version": int})

    def leaderboard(self, name: str) -> dict[str, Any]:
        """Return the leaderboard of a benchmark, with the rows of all pages."""
        board = page = self._json("GET", f"/benchmarks/{_segment(name)}/leaderboard", BOARD)
        while page["next"]:
            page = self._json("GET", f"{self.server}{page['next']}", BOARD)
            board["rows"] += page["rows"]
        return board | {"next": None}

    def submission(self, submission_id: str, *, wait: float = 0) -> dict[str, Any]:
        """Return a submission: at once, or with `wait` when the submission changes, at the latest after `wait` seconds."""
        return self._json("GET", f"/submissions/{_segment(submission_id)}", SUBMISSION, params={"wait": wait})

    def compare(self, a: str, b: str) -> dict[str, Any]:
        """Return the paired comparison of two submissions, given by id: the LDS of `a` minus the LDS of `b`."""
        return self._json("GET", "/compare", COMPARISON, params={"a": a, "b": b})

    def start_upload(self, announced: dict[str, Any], key: str) -> dict[str, Any]:
        """Start a multipart upload, and return the upload; its member ``capability`` is the upload token.

        `announced` has the fields of the submission. A repeated call with the same idempotency `key` creates nothing new.
        """
        expected = UPLOAD | {"capability": str}
        return self._json("POST", "/submissions", expected, json=announced, headers={"Idempotency-Key": key})

    def upload(self, upload_id: str) -> dict[str, Any]:
        """Return an upload and its upload parts; the client needs the upload token, or a token of the owner."""
        return self._json("GET", f"/submissions/{_segment(upload_id)}/parts", UPLOAD)

    def send_part(self, url: str, content: Content, size: int) -> None:
        """Send an upload part of `size` bytes to the `url` that the upload states.

        Each attempt calls `content`, which returns an iterator over the bytes.
        """
        headers = {"Content-Length": str(size)}
        response = self._call("PUT", urljoin(self.server, url), PART_ATTEMPTS, content, headers=headers)
        answers.members(response, {"number": int, "sha256": str})

    def complete(self, upload_id: str) -> dict[str, Any]:
        """Complete an upload after all upload parts have arrived, and return the submission."""
        return self._json("POST", f"/submissions/{_segment(upload_id)}/complete", SUBMISSION)

    def cancel(self, upload_id: str) -> None:
        """Cancel an upload that is not completed, so that the upload uses no quota of submissions."""
        response = self._call("DELETE", f"/submissions/{_segment(upload_id)}/parts")
        if response.status_code != httpx.codes.NO_CONTENT:
            raise answers.foreign(response)

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

        Nothing is downloaded if the cache holds an intact copy of the current version; a damaged copy is replaced. If the
        downloaded files do not match their hashes, BundleError is raised, and nothing is kept.
        """
        shown = self.benchmark(name)
        target = cache.folder(self.server, shown["name"], shown["version"])
        if _is_intact(target):  # download a version that is absent, altered or damaged
            return target
        with ExitStack() as until_replaced, atomic_folder(target, keep=_is_intact) as draft:
            for file in ("public.npz", "kit.zip"):
                url = f"/benchmarks/{_segment(name)}/{file}"
                response = self._call("GET", url, params={"version": shown["version"]})
                try:
                    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
                        archive.extractall(draft / "public")
                except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError) as error:
                    raise answers.foreign(response) from error
            Bundle.open(draft)
            # Of several programs that pull at once, one at a time replaces what is there, and never an intact copy.
            until_replaced.enter_context(lock(target.with_name(f".{target.name}.lock"), wait=True))
        return target

    def ask(self, method: str, url: str, expected: Mapping[str, Any], **options: Any) -> dict[str, Any]:
        """Call an address below ``/api/v1``, and return the answer: an object with members of the `expected` types."""
        return self._json(method, url, expected, **options)

    def _json(self, method: str, url: str, expected: Mapping[str, Any], **options: Any) -> dict[str, Any]:
        return answers.members(self._call(method, url, **options), expected)

    def _call(
        self, method: str, url: str, attempts: int = ATTEMPTS, content: Content | None = None, **options: Any
    ) -> httpx.Response:
        """Send a request, repeat it after connection errors and after responses that allow a retry, and return the response.

        The server can receive a request twice. A request that creates something therefore carries an idempotency key.
        """

        def attempt() -> httpx.Response:
            if self._closed.is_set():
                raise UnreachableError("The client was closed during a call.")
            send = partial(self._http.request, method, url, content=content and content(), **options)
            response = background.call(send)
            if answers.allows_retry(response):
                raise _RetriedError(response)
            return answers.checked(response)

        attempts = 1 if self._hurried else attempts
        retrying = Retrying(
            retry=retry_if_exception(_is_retried),
            stop=stop_after_attempt(attempts) | stop_when_event_set(self._closed),
            wait=_pause,
            sleep=sleep_using_event(self._closed),
            reraise=True,
        )
        try:
            return retrying(attempt)
        except _RetriedError as error:
            answers.raise_unless_unavailable(error.response)
            reason = str(error)
        except httpx.TransportError as error:
            if refusal := answers.refusal_by_proxy(error, self.server):
                raise refusal from error
            reason = str(error) or type(error).__name__
        except (httpx.InvalidURL, UnicodeError, httpx.DecodingError) as error:
            raise UnreachableError(f"The answer of {self.server} cannot be used: {error}.") from error
        raise UnreachableError(
            f"No answer from {self.server} in {attempts} attempts ({reason}). "
            "Check LDSBOARD_SERVER (or --server), and that the server is running."
        )


class _RetriedError(Exception):
    """The error for a response that allows a retry."""

    def __init__(self, response: httpx.Response) -> None:
        self.response, self.after = response, answers.retry_after(response) or 0.0
        super().__init__(f"status {response.status_code}: {answers.problem_of(response)}")


def _is_retried(error: BaseException) -> bool:
    return isinstance(error, _RetriedError | httpx.TransportError) and answers.refusal_by_proxy(error, "") is None


def _pause(state: RetryCallState) -> float:
    """Return the seconds to wait before the next attempt, at random, so that clients do not all retry at the same time."""
    error = state.outcome.exception() if state.outcome else None
    backoff: float = PAUSE_SECONDS * min(2**state.attempt_number, 32) * random.uniform(0.5, 1)  # noqa: S311 -- not cryptographic
    return max(backoff, error.after if isinstance(error, _RetriedError) else 0.0)


def _segment(text: str) -> str:
    """Percent-encode a name or an id as one path segment; return ``-`` for an empty text or for dots alone."""
    return quote(text, safe="") if text.strip(".") else "-"


def _is_intact(folder: Path) -> bool:
    """Return whether a folder holds an undamaged benchmark."""
    try:
        Bundle.open(folder)
    except (BundleError, OSError, ValueError):
        return False
    return True

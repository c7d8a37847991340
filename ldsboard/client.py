"""The service, from the caller's side.

::

    ClientError
    ├── RefusedError          the server said no: problem, status, and when to try again
    └── UnreachableError      no answer, after all retries
"""

from __future__ import annotations

import io
import random
import shutil
import threading
import time
import zipfile
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urljoin

import httpx

from ldsboard import cache
from ldsboard.bundle import Bundle
from ldsboard.manifest import BundleError
from ldsboard.problems import Problem, ProblemError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ATTEMPTS, PART_ATTEMPTS = 4, 8
"""How often a call is made, and one that others have gone before: to send a part again is cheaper than to give up."""

PAUSE_SECONDS = 0.5
MAX_RETRY_AFTER_SECONDS = 60.0
"""The longest pause that a server may ask for without being taken to say no."""

SERVER_ERROR, TOO_MANY_REQUESTS = 500, 429
RETRIED_STATUSES = frozenset({SERVER_ERROR, 502, 503, 504})
FINAL_STATES = frozenset({"scored", "rejected", "failed", "expired", "withdrawn"})
"""States of a submission in which nothing more happens by itself."""


class ClientError(Exception):
    """A call to the service did not succeed."""


class RefusedError(ClientError):
    """The server refused the call.

    ``problem`` has its words, ``retry_after`` the seconds it asks to wait, if any; ``final`` tells that it will never take it.
    """

    def __init__(self, problem: Problem, status: int, retry_after: float | None) -> None:
        self.problem, self.status, self.retry_after = problem, status, retry_after
        interrupted = problem.code == "upload.interrupted"
        self.final = 400 <= status < 500 and status not in (408, TOO_MANY_REQUESTS) and not interrupted  # noqa: PLR2004 -- the caller's errors
        super().__init__(f"{problem} [{problem.code}]")


class UnreachableError(ClientError):
    """The server gave no answer."""


class Client:
    """Speaks with one server.

    Parameters
    ----------
    server
        Its address; by default ``LDSBOARD_SERVER``, or ``http://localhost:8000``.
    token
        A bearer token, needed for submitting only.
    """

    def __init__(self, server: str | None = None, token: str | None = None) -> None:
        self.server = (server or cache.default_server()).rstrip("/")
        token = (token or "").strip()
        if not token.isascii() or not token.isprintable():
            # Not repeated in the message: what is nearly a token is nearly a secret.
            raise ProblemError(
                "auth.invalid",
                "A token has only letters, digits, '-' and '_'; this one has other characters.",
                "Copy the token again, without line breaks.",
            )
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        local = httpx.URL(self.server).host in ("localhost", "127.0.0.1", "::1")
        timeout = httpx.Timeout(60, connect=10)
        self._closed = threading.Event()
        # A proxy from the environment cannot reach this machine's own addresses.
        self._http = httpx.Client(
            base_url=f"{self.server}/api/v1", headers=headers, timeout=timeout, trust_env=not local
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all calls, those that run or wait in other threads included."""
        self._closed.set()
        self._http.close()

    def benchmark(self, name: str) -> dict[str, Any]:
        """Return what the server says of a benchmark."""
        return self._json("GET", f"/benchmarks/{_segment(name)}")

    def leaderboard(self, name: str) -> dict[str, Any]:
        """Return the leaderboard of a benchmark, all pages of it."""
        board = page = self._json("GET", f"/benchmarks/{_segment(name)}/leaderboard")
        while page["next"]:
            page = self._json("GET", f"{self.server}{page['next']}")
            board["rows"] += page["rows"]
        return board | {"next": None}

    def submission(self, submission_id: str, *, wait: float = 0) -> dict[str, Any]:
        """Return a submission; with `wait`, after its state changed or so many seconds passed."""
        return self._json("GET", f"/submissions/{_segment(submission_id)}", params={"wait": wait})

    def compare(self, a: str, b: str) -> dict[str, Any]:
        """Return the paired difference of two submissions."""
        return self._json("GET", "/compare", params={"a": a, "b": b})

    def start_upload(self, announced: dict[str, Any], key: str) -> dict[str, Any]:
        """Announce a file that will come in parts, and return the upload with its capability.

        Repeated under the same key, after a lost answer, this creates nothing twice.
        """
        return self._json("POST", "/submissions", json=announced, headers={"Idempotency-Key": key})

    def upload(self, upload_id: str) -> dict[str, Any]:
        """Return an upload with its parts, to the holder of its capability."""
        return self._json("GET", f"/submissions/{_segment(upload_id)}/parts")

    def send_part(self, url: str, content: Callable[[], Iterator[bytes]], size: int) -> None:
        """Send a part of `size` bytes; `content` yields them, from their beginning each time it is called."""
        self._call("PUT", urljoin(self.server, url), PART_ATTEMPTS, content, headers={"Content-Length": str(size)})

    def complete(self, upload_id: str) -> dict[str, Any]:
        """End an upload whose parts have all arrived, and return the submission."""
        return self._json("POST", f"/submissions/{_segment(upload_id)}/complete")

    def wait(self, submission_id: str, timeout: float) -> dict[str, Any]:
        """Return a submission once it is final, or as it is after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        submission: dict[str, Any] = {}
        while True:
            left = max(0.0, deadline - time.monotonic())
            before, submission = submission, self.submission(submission_id, wait=min(25.0, left))
            if submission["state"] in FINAL_STATES or left == 0:
                return submission
            if submission == before:  # the server may let nobody else wait, and answer at once
                self._closed.wait(min(PAUSE_SECONDS, left))

    def pull(self, name: str) -> Path:
        """Fetch the public part and the kit of a benchmark into the cache, verify them, and return the folder."""
        shown = self.benchmark(name)
        target = cache.folder(self.server, shown["name"], shown["version"])
        if (target / "public").exists():
            try:
                Bundle.open(target)
            except BundleError:
                shutil.rmtree(target)  # altered or damaged since: fetched again
            else:
                return target
        partial = target.with_name(f"{target.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        version = {"version": shown["version"]}
        for file in ("public.npz", "kit.zip"):
            content = self._call("GET", f"/benchmarks/{_segment(name)}/{file}", params=version).content
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                archive.extractall(partial / "public")
        Bundle.open(partial)
        partial.rename(target)
        return target

    def _json(self, method: str, url: str, **options: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self._call(method, url, **options).json()
        return answer

    def _call(
        self,
        method: str,
        url: str,
        attempts: int = ATTEMPTS,
        content: Callable[[], Iterator[bytes]] | None = None,
        **options: Any,
    ) -> httpx.Response:
        """Make a call, repeating what may be repeated: calls that did not arrive, and answers that ask for it.

        Every call here may come twice: those that create something carry a key.
        """
        last, after = "", 0.0
        for attempt in range(attempts):
            # The longer, the more often it failed; at random, so that those who failed together do not come back together.
            pause = PAUSE_SECONDS * min(2**attempt, 64) * random.uniform(0.5, 1)  # noqa: S311 -- guards nothing
            if attempt and self._closed.wait(max(pause, after)):
                break
            try:
                response = self._http.request(method, url, content=content and content(), **options)
            except httpx.UnsupportedProtocol as error:
                raise UnreachableError(
                    f"expected an address such as {cache.DEFAULT_SERVER}, got {self.server}"
                ) from error
            except httpx.TransportError as error:
                last, after = str(error) or type(error).__name__, 0.0
                continue
            after = _retry_after(response) or 0.0
            again = response.status_code in RETRIED_STATUSES or (response.status_code == TOO_MANY_REQUESTS and after)
            if not again or after > MAX_RETRY_AFTER_SECONDS or (response.status_code == SERVER_ERROR and attempt + 1 == attempts):
                return _raise_for_problem(response)
            last = f"status {response.status_code}"
        raise UnreachableError(
            f"expected an answer from {self.server}, got none in {attempts} attempts ({last}). "
            "Check LDSBOARD_SERVER (or --server), and that the server runs."
        )


def _segment(text: str) -> str:
    """Return a name or an id as one segment of a path, whatever characters it has."""
    return quote(text, safe="") if text.strip(".") else "-"


def _raise_for_problem(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    try:
        problem = Problem.from_dict(response.json())
    except (ValueError, KeyError, TypeError):
        problem = Problem(
            "internal.failed",
            f"{response.url} gave no answer of the LDSBoard API, but status {response.status_code}: {response.text[:200]}",
            "Check LDSBOARD_SERVER (or --server).",
        )
    raise RefusedError(problem, response.status_code, _retry_after(response))


def _retry_after(response: httpx.Response) -> float | None:
    after = response.headers.get("Retry-After", "")
    return float(after) if after.isdecimal() else None

"""The service, from the caller's side.

::

    ClientError
    ├── RefusedError          the server said no: problem, status, and when to try again
    └── UnreachableError      no answer, after all retries
"""

from __future__ import annotations

import io
import shutil
import time
import uuid
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import httpx

from ldsboard import cache
from ldsboard.bundle import Bundle
from ldsboard.formats import open_scores
from ldsboard.manifest import BundleError
from ldsboard.problems import Problem, ProblemError
from ldsboard.scores import check_finite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ATTEMPTS = 4
CHUNK_BYTES = 1 << 20
FINAL = frozenset({"scored", "rejected", "failed", "expired", "withdrawn"})
"""States of a submission in which nothing more happens by itself."""


class ClientError(Exception):
    """A call to the service did not succeed."""


class RefusedError(ClientError):
    """The server refused the call; ``problem`` has its words, ``retry_after`` the seconds it asks to wait, if any."""

    def __init__(self, problem: Problem, status: int, retry_after: float | None) -> None:
        self.problem, self.status, self.retry_after = problem, status, retry_after
        super().__init__(f"{problem} [{problem.code}]")


class UnreachableError(ClientError):
    """The server gave no answer."""


@dataclass(frozen=True)
class Reported:
    """What a submitter says a method cost: seconds of computing, the device, and how many models were trained."""

    seconds: float | None = None
    device: str | None = None
    models: int | None = None


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
                expected="a token of letters, digits, '-' and '_'",
                got="one with other characters",
                hint="Copy it again, without line breaks.",
            )
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        local = httpx.URL(self.server).host in ("localhost", "127.0.0.1", "::1")
        timeout = httpx.Timeout(60, connect=10)
        # A proxy from the environment cannot reach this machine's own addresses.
        self._http = httpx.Client(
            base_url=f"{self.server}/api/v1", headers=headers, timeout=timeout, trust_env=not local
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
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

    def submit(
        self,
        benchmark: str,
        path: Path,
        *,
        method: str,
        kind: str = "ranked",
        title: str = "",
        cost: Reported | None = None,
        progress: Callable[[int], None] = lambda _: None,
    ) -> dict[str, Any]:
        """Send a score file and return the submission.

        The call carries a fresh idempotency key, so that a repetition after a lost answer creates nothing twice.

        Parameters
        ----------
        progress
            Called with the number of bytes sent so far.

        Raises
        ------
        ProblemError
            The file is not a score file, or holds values that are not finite; nothing was sent.
        ClientError
            The server refused it or could not be reached.
        """
        check_finite(open_scores(path))
        params: dict[str, Any] = {"method": method, "kind": kind, "title": title}
        params |= {name: value for name, value in vars(cost or Reported()).items() if value is not None}
        headers = {"Content-Length": str(path.stat().st_size), "Idempotency-Key": str(uuid.uuid4())}

        def body() -> Iterator[bytes]:
            sent = 0
            with path.open("rb") as file:
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk
                    sent += len(chunk)
                    progress(sent)

        return self._json(
            "PUT", f"/benchmarks/{_segment(benchmark)}/submissions", params=params, headers=headers, content=body
        )

    def wait(self, submission_id: str, timeout: float) -> dict[str, Any]:
        """Return a submission once it is final, or as it is after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            left = max(0.0, deadline - time.monotonic())
            submission = self.submission(submission_id, wait=min(25.0, left))
            if submission["state"] in FINAL or left == 0:
                return submission

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
        self, method: str, url: str, *, content: Callable[[], Iterator[bytes]] | None = None, **options: Any
    ) -> httpx.Response:
        """Make a call, repeating what may be repeated: calls that did not arrive, and answers that ask for it."""
        last = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(0.25 * 2**attempt)
            try:
                response = self._http.request(method, url, content=content and content(), **options)
            except httpx.UnsupportedProtocol as error:
                raise UnreachableError(
                    f"expected an address such as {cache.DEFAULT_SERVER}, got {self.server}"
                ) from error
            except httpx.TransportError as error:
                last = str(error) or type(error).__name__
                continue
            if response.status_code not in (502, 503, 504):
                return _checked(response)
            last = f"status {response.status_code}"
        raise UnreachableError(
            f"expected an answer from {self.server}, got none in {ATTEMPTS} attempts ({last}). "
            "Check LDSBOARD_SERVER (or --server), and that the server runs."
        )


def _segment(text: str) -> str:
    """Return a name or an id as one segment of a path, whatever characters it has."""
    return quote(text, safe="") if text.strip(".") else "-"


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    after = response.headers.get("Retry-After", "")
    try:
        problem = Problem.from_dict(response.json())
    except (ValueError, KeyError, TypeError):
        problem = Problem(
            "internal.failed",
            expected=f"an answer of the LDSBoard API at {response.url}",
            got=f"status {response.status_code}: {response.text[:200]}",
            hint="Check LDSBOARD_SERVER (or --server).",
        )
    raise RefusedError(problem, response.status_code, float(after) if after.isdigit() else None)

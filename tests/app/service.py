"""A server process with its own data folder and port, and the calls and queries that tests make."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import httpx
import numpy as np
from pydantic import SecretStr
from sqlalchemy import and_, func, select
from sqlalchemy.orm import undefer

from app.accounts import tokens, users
from app.db.accounts import Scope
from app.db.base import Base
from app.db.migration import upgrade
from app.db.models import FINAL, Evaluation, Event, Measurement, State, Submission
from app.db.sessions import Database
from app.db.uploads import Upload
from app.settings import Settings
from tests.app.benchmarks import publish
from tests.app.ports import reserved_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

    from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 120.0
MODULE = "app"
"""The module that `Service.start` runs; a test can replace it by a module that changes the server first."""
Seen = TypeVar("Seen")


def until(observe: Callable[[], Seen | None], what: str) -> Seen:
    """Call `observe` until its result is true and return the result; after `PATIENCE_SECONDS` fail with `what`."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if seen := observe():
            return seen
        time.sleep(0.01)
    raise AssertionError(f"expected {what} within {PATIENCE_SECONDS:g} s")


def read_response(connection: socket.socket) -> bytes:
    """Return all bytes that the server sends until it closes the connection; stop sending after one complete response.

    A server waits some seconds for the rest of a rejected body, unless the client stops sending.
    """
    with connection, connection.makefile("rb") as incoming:
        head = b""
        while not head.endswith(b"\r\n\r\n") and (line := incoming.readline()):
            head += line
        length = re.search(rb"\r\ncontent-length: (\d+)\r\n", head, re.IGNORECASE)
        body = incoming.read(int(length[1]) if length else -1)
        with suppress(OSError):  # the server may have closed the connection already
            connection.shutdown(socket.SHUT_WR)
        return head + body + incoming.read()


def npy(array: NDArray[Any]) -> bytes:
    """Return an array as the content of an .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


UNLIMITED = {
    "requests_per_minute": 10**6,
    "mints_per_minute": 10**6,
    "mints_per_day": 0,
    "practice_per_day": 0,
    "uploads_per_day": 0,
    "edits_per_day": 0,
    "tokens_per_day": 0,
    "tokens_per_user": 0,
    "webhooks_per_day": 0,
}
"""Settings without limits. Many tests send from one address and with the same users, so earlier tests could reach real limits."""


def variable(setting: str) -> str:
    """Return the name of the environment variable of a setting."""
    return str(Settings.model_fields[setting].validation_alias or f"LDSBOARD_{setting.upper()}")


class Service:
    """A server process, its data folder, and an HTTP client for it."""

    root = ROOT
    """The folder of the code; a test can replace it by another release."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.settings = Settings(**{"data_dir": folder / "data"} | UNLIMITED | settings)
        self.settings.data_dir.mkdir(parents=True, exist_ok="data_dir" in settings)
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "server.log"
        self._held = ExitStack()
        self.port = self._held.enter_context(reserved_port())
        self.environment = os.environ | {
            variable(name): value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for name, value in self.settings.model_dump(exclude_unset=True).items()
        }
        upgrade(self.settings.resolved_database_url)
        self.database = Database(self.settings.resolved_database_url)
        self.url = f"http://localhost:{self.port}"
        self.client = httpx.Client(base_url=f"{self.url}/api/v1", timeout=PATIENCE_SECONDS, trust_env=False)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the server, if it was started, and close the database and the client."""
        if self._process is not None:
            self.stop()
        self.client.close()
        self.database.close()
        self._held.close()

    def run(self, *arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run an operator's command in a process, with the settings of this server or another environment."""
        command = [sys.executable, "-m", "app", *arguments]
        return subprocess.run(
            command, cwd=self.root, env=environment or self.environment, capture_output=True, text=True, check=False
        )

    def start(self) -> None:
        """Start the server and wait until it is ready."""
        command = [sys.executable, "-m", MODULE, "serve", "--port", str(self.port)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self.root, env=self.environment, stdout=log, stderr=log)
        until(self._ready, f"a ready server; its log is {self.log}")

    def _ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            # A new client for each attempt would take more processor time than the server takes to start.
            return self.client.get(f"{self.url}/readyz").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process of the running server."""
        assert self._process is not None, "the server was not started"
        return self._process

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Stop the server with a signal, unless it has ended, and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE_SECONDS)

    def publish(self, folder: Path) -> None:
        """Publish a benchmark folder."""
        publish(self.database, self.settings.benchmarks_dir, folder)

    def token(self, name: str, *, scopes: Iterable[Scope] = tuple(Scope), **quotas: Any) -> str:
        """Return a new token of a user with all scopes by default; create the user if missing."""
        with self.database.write() as session:
            return tokens.create(session, users.add_user(session, name, **quotas), scopes=scopes)[1]

    def submit(
        self, token: str, benchmark: str, content: bytes, *, key: str | None = None, **query: str
    ) -> httpx.Response:
        """Send a score file in a single upload, with an idempotency key if one is given."""
        return self.client.put(
            f"/benchmarks/{benchmark}/submissions",
            params={"method": "ours"} | query,
            content=content,
            headers={"Authorization": f"Bearer {token}"} | ({"Idempotency-Key": key} if key else {}),
        )

    def wait_until_final(self, submission_id: str) -> dict[str, Any]:
        """Wait by long polling until a submission is in a final state, and return it."""

        def look() -> dict[str, Any] | None:
            view: dict[str, Any] = self.client.get(f"/submissions/{submission_id}", params={"wait": 25}).json()
            return view if view["state"] in FINAL else None

        return until(look, f"submission {submission_id} in a final state")

    def submit_and_score(self, token: str, benchmark: str, content: bytes, **query: str) -> dict[str, Any]:
        """Send a score file and return its submission once it is scored."""
        response = self.submit(token, benchmark, content, **query)
        assert response.status_code == httpx.codes.ACCEPTED, response.text
        view = self.wait_until_final(response.json()["id"])
        assert view["state"] == "scored", view
        return view

    def row(self, submission_id: str) -> Submission:
        """Return the database row of a submission."""
        with self.database.read() as session:
            return session.get_one(Submission, submission_id)

    def failure_count(self, submission_id: str) -> int:
        """Return how often the only evaluation of a submission has failed."""
        with self.database.read() as session:
            query = select(Evaluation.failures).where(Evaluation.submission_id == submission_id)
            return session.scalars(query).one()

    def measurements(self, submission_id: str) -> dict[str, Measurement]:
        """Return the measurements of a submission by part, with their arrays."""
        query = (
            select(Measurement).join(Evaluation).where(Evaluation.submission_id == submission_id).options(undefer("*"))
        )
        with self.database.read() as session:
            return {measurement.part: measurement for measurement in session.scalars(query)}

    def events(self, submission_id: str) -> list[tuple[str | None, str]]:
        """Return the state changes of a submission as (before, after), in order."""
        query = select(Event.before, Event.after).where(Event.submission_id == submission_id).order_by(Event.id)
        with self.database.read() as session:
            return [(before, after) for before, after in session.execute(query)]

    def wait_until_idle(self) -> None:
        """Wait until every submission is in a final state, except open multipart uploads."""
        open_multipart = and_(Submission.state == State.UPLOADING, Submission.id.in_(select(Upload.submission_id)))
        busy = select(func.count()).where(Submission.state.not_in(FINAL), ~open_multipart)

        def look() -> bool:
            with self.database.read() as session:
                return session.scalar(busy) == 0

        until(look, "a server with nothing left to do")

    def rows(self) -> dict[str, int]:
        """Return the number of rows by table name."""
        with self.database.read() as session:
            tables = Base.metadata.tables.items()
            return {name: session.scalar(select(func.count()).select_from(table)) or 0 for name, table in tables}

    def files(self) -> set[str]:
        """Return the names of all uploaded files, including files that are still arriving."""
        return {path.name for path in self.settings.storage_dir.rglob("*") if path.is_file()}

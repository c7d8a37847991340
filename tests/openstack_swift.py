"""An S3-compatible store for tests: OpenStack Swift in its own process, with all data in a folder. Tests kill and restart it."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.app.ports import reserved_port

if TYPE_CHECKING:
    from types import TracebackType

ROOT = Path(__file__).resolve().parents[1]
PYTHON = Path(os.environ.get("SWIFT_VENV", ROOT / ".venv" / "swift")) / "bin" / "python"
"""Python with Swift's packages; `make test` installs them."""

ACCESS_KEY, SECRET_KEY, BUCKET = "test:tester", "testing", "scores"


class Swift:
    """A store with one bucket. `settings` returns the settings of a server that uses a prefix in the bucket."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held = ExitStack()
        self._ports = [self._held.enter_context(reserved_port()) for _ in range(4)]
        self._process: subprocess.Popen[str] | None = None
        self.url = f"http://127.0.0.1:{self._ports[0]}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()
        self._held.close()

    def start(self) -> None:
        """Start the store unless it runs, and wait until it answers."""
        if self._process is not None:
            return
        assert PYTHON.exists(), "run: make .venv/.swift"
        command = [str(PYTHON), "-W", "ignore", str(ROOT / "tests" / "openstack_swift_process.py"), str(self._folder)]
        log = self._folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*command, *map(str, self._ports)], stdout=subprocess.PIPE, stderr=output, text=True
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith("20"), f"the store did not start: {line}; its log is {log}"

    @property
    def pid(self) -> int:
        """The process of the running store."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """Kill the store; its data stay."""
        if self._process is not None:
            with self._process as process:
                process.kill()
            self._process = None

    def pause(self, *, paused: bool) -> None:
        """Stop the process so that requests get no answer, or let it continue."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP if paused else signal.SIGCONT)

    def settings(self, prefix: str) -> dict[str, Any]:
        """Return the settings of a server that keeps its files under a prefix in the bucket."""
        return {
            "storage_url": f"s3://{BUCKET}/{prefix}",
            "aws_access_key_id": ACCESS_KEY,
            "aws_secret_access_key": SECRET_KEY,
            "aws_endpoint_url": self.url,
        }

    def objects(self, kind: str = "objects") -> list[Path]:
        """Return the files in which the store keeps its objects, so that a test can damage one."""
        return sorted((self._folder / "devices" / "disk" / kind).rglob("*.data"))

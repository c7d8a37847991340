"""Scratch files of processes that share a folder: those of a killed process are deleted, those in use are not."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from app.submissions import scratch
from tests.app.service import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

CREATE = """
import sys
from pathlib import Path
from app.submissions import scratch
with scratch.create(Path(sys.argv[1])) as file:
    file.write(b"half a file")
    file.flush()
    print("created", flush=True)
    sys.stdin.read()
"""


def test_file_is_deleted_once_its_process_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "arriving"
    command = [sys.executable, "-c", CREATE, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"created\n"
        (tmp_path / "folder").mkdir()
        scratch.delete_abandoned(tmp_path)
        assert path.read_bytes() == b"half a file"
        process.kill()
    scratch.delete_abandoned(tmp_path)
    assert [left.name for left in tmp_path.iterdir()] == ["folder"]


def test_file_that_is_deleted_before_it_is_locked_is_created_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "arriving"
    lock = fcntl.flock
    calls: list[int] = []

    def delete_first(file: Any, operation: int) -> None:
        if not calls:
            path.unlink()
        calls.append(operation)
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", delete_first)
    with scratch.create(path) as file:
        file.write(b"bytes")
    assert path.read_bytes() == b"bytes"
    assert len(calls) == 2

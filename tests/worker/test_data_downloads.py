"""The cache keeps a download only if it is complete and has the expected SHA-256."""

from __future__ import annotations

import re
import subprocess
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from worker.data import DataError, downloads

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = bytes(range(256)) * 1000
DIGEST = sha256(CONTENT).hexdigest()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a server with one file; the cache is empty."""
    monkeypatch.setenv("LDSBOARD_CACHE", str(tmp_path / "cache"))
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "pictures.gz").write_bytes(CONTENT)
    handler = partial(QuietHandler, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_fetch_downloads_file_once(address: str, tmp_path: Path) -> None:
    path = downloads.fetch(f"{address}/pictures.gz", DIGEST)
    assert path == tmp_path / "cache" / "datasets" / "pictures.gz"
    assert path.read_bytes() == CONTENT
    (tmp_path / "served" / "pictures.gz").unlink()
    assert downloads.fetch(f"{address}/pictures.gz", DIGEST) == path
    assert [entry.name for entry in path.parent.iterdir()] == ["pictures.gz"]


@pytest.mark.parametrize(
    ("name", "digest", "message"),
    [("pictures.gz", "0" * 64, f"with sha256 {'0' * 64}, got {DIGEST}"), ("absent.gz", DIGEST, "404")],
)
def test_fetch_keeps_nothing_of_failed_download(address: str, name: str, digest: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        downloads.fetch(f"{address}/{name}", digest)
    assert list(downloads.folder().iterdir()) == []


def test_command_in_the_error_about_a_damaged_cached_file_repairs_the_cache(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LDSBOARD_CACHE", str(tmp_path / "my 'own' cache"))
    downloads.fetch(f"{address}/pictures.gz", DIGEST).write_bytes(CONTENT[:-1])
    with pytest.raises(DataError, match=r"Expected .*/datasets/pictures.gz with sha256") as damaged:
        downloads.fetch(f"{address}/pictures.gz", DIGEST)
    command = re.search(r"\((rm .*)\) and run the command again", str(damaged.value))
    assert command is not None
    subprocess.run(command[1], shell=True, check=True)  # noqa: S602 -- as a user pastes the command
    assert downloads.fetch(f"{address}/pictures.gz", DIGEST).read_bytes() == CONTENT

"""A file has its name once it is whole and on the disk, and never before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.disk import watched
from worker.drafts import EVERYONE, drafted
from worker.plan import write_once

if TYPE_CHECKING:
    from pathlib import Path


def test_nothing_is_left_of_a_file_that_failed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"before")
    with pytest.raises(TypeError), drafted(tmp_path / "file") as file:
        file.writelines([b"half", None])  # type: ignore[list-item]
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"before")]


def test_writers_at_once_write_apart(tmp_path: Path) -> None:
    """In containers that share a folder, processes may have the same number."""
    with drafted(tmp_path / "file", once=True) as first, drafted(tmp_path / "file", once=True) as second:
        first.write(b"first, and longer")
        second.write(b"second")
    assert (tmp_path / "file").read_bytes() == b"second"  # which was ready first
    assert len(list(tmp_path.iterdir())) == 1


def test_is_for_its_owner_alone_unless_for_everyone(tmp_path: Path) -> None:
    with drafted(tmp_path / "mine"):
        pass
    with drafted(tmp_path / "ours", mode=EVERYONE):
        pass
    (tmp_path / "plain").touch()
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_seed_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut after the first shard must not leave an empty hidden.json beside it."""
    done = watched(monkeypatch, "fsync", "link")
    write_once(tmp_path / "hidden.json", {"seed": "00"})
    assert done == ["fsync", "link", "fsync"]  # the content, the name, the folder that has it

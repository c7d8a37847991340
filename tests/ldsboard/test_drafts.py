"""Atomic writes: a file or folder gets its final name only after it is complete."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from ldsboard.drafts import EVERYONE, atomic_folder, atomic_write

if TYPE_CHECKING:
    from pathlib import Path


def test_failed_write_keeps_previous_file_and_leaves_no_draft(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"before")
    with pytest.raises(TypeError), atomic_write(tmp_path / "file") as file:
        file.writelines([b"half", None])  # type: ignore[list-item]
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"before")]


def test_concurrent_writers_use_separate_drafts(tmp_path: Path) -> None:
    """Processes in containers that share a folder may have the same pid."""
    with (
        atomic_write(tmp_path / "file", keep_existing=True) as first,
        atomic_write(tmp_path / "file", keep_existing=True) as second,
    ):
        first.write(b"first, and longer")
        second.write(b"second")
    assert (tmp_path / "file").read_bytes() == b"second"  # the second writer finished first
    assert len(list(tmp_path.iterdir())) == 1


def test_failed_folder_write_keeps_previous_folder_and_leaves_no_draft(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "before").touch()
    with pytest.raises(FileNotFoundError), atomic_folder(tmp_path / "folder") as draft:
        (draft / "half").rename(draft / "absent" / "half")
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["folder", "folder/before"]


def test_concurrent_folder_writers_do_not_mix_files(tmp_path: Path) -> None:
    """The writer that finishes last replaces the other writer's folder."""
    with atomic_folder(tmp_path / "folder") as first, atomic_folder(tmp_path / "folder") as second:
        (first / "first").touch()
        (second / "second").touch()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["folder", "folder/first"]


def test_folder_write_replaces_folder_created_meanwhile_by_another_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "earlier").touch()
    pending = iter([True])
    rmtree = shutil.rmtree

    def remove_and_recreate(path: Path, *, ignore_errors: bool) -> None:
        """Create the folder after the previous folder was moved away and before the draft is renamed."""
        rmtree(path, ignore_errors=ignore_errors)
        if next(pending, False):
            (tmp_path / "folder").mkdir()
            (tmp_path / "folder" / "theirs").touch()

    monkeypatch.setattr(shutil, "rmtree", remove_and_recreate)
    with atomic_folder(tmp_path / "folder") as draft:
        (draft / "ours").touch()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["folder", "folder/ours"]


def test_folder_write_replaces_a_file_and_leaves_nothing_beside(tmp_path: Path) -> None:
    (tmp_path / "folder").write_bytes(b"a file")
    with atomic_folder(tmp_path / "folder") as draft:
        (draft / "ours").touch()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["folder", "folder/ours"]


def test_folder_write_keeps_what_it_is_told_to_keep(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "theirs").touch()
    with atomic_folder(tmp_path / "folder", keep=lambda path: (path / "theirs").exists()) as draft:
        (draft / "ours").touch()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["folder", "folder/theirs"]


@pytest.mark.skipif(os.name == "nt", reason="Windows ignores file modes")
def test_written_file_is_private_unless_mode_is_everyone(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "mine"):
        pass
    with atomic_write(tmp_path / "ours", mode=EVERYONE):
        pass
    (tmp_path / "plain").touch()
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_file_content_is_synced_before_the_file_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power failure, an empty hidden.json beside the first shard would lose the hidden seed."""
    calls: list[str] = []

    def record_calls(name: str) -> None:
        real = getattr(os, name)

        def call(*arguments: object) -> None:
            calls.append(name)
            real(*arguments)

        monkeypatch.setattr(os, name, call)

    record_calls("fsync")
    record_calls("link")
    with atomic_write(tmp_path / "hidden.json", keep_existing=True) as file:
        file.write(b'{"seed": "00"}')
    # First sync the content, then link the name, then sync the folder, which Windows cannot do.
    assert calls == ["fsync", "link", "fsync"][: 2 if os.name == "nt" else 3]

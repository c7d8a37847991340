"""A file or folder has its name once it is whole, and never before."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from ldsboard.drafts import EVERYONE, drafted, drafted_folder

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


def test_nothing_is_left_of_a_folder_that_failed_and_the_one_before_stays(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "before").touch()
    with pytest.raises(FileNotFoundError), drafted_folder(tmp_path / "folder") as draft:
        (draft / "half").rename(draft / "absent" / "half")
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["folder", "folder/before"]


def test_a_folder_is_the_whole_of_one_writer(tmp_path: Path) -> None:
    """Of two that gather at once, the later replaces what the earlier wrote, and neither mixes its files with the other's."""
    with drafted_folder(tmp_path / "folder") as first, drafted_folder(tmp_path / "folder") as second:
        (first / "first").touch()
        (second / "second").touch()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["folder", "folder/first"]


def test_a_folder_is_written_though_another_writer_takes_the_name_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = iter([True])
    rmtree = shutil.rmtree

    def interloper(path: Path, *, ignore_errors: bool) -> None:
        """Stand in the gap between moving the earlier folder away and naming the new one."""
        rmtree(path, ignore_errors=ignore_errors)
        if next(taken, False):
            (tmp_path / "folder").mkdir()
            (tmp_path / "folder" / "theirs").touch()

    monkeypatch.setattr(shutil, "rmtree", interloper)
    with drafted_folder(tmp_path / "folder") as draft:
        (draft / "ours").touch()
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == ["folder", "folder/ours"]


@pytest.mark.skipif(os.name == "nt", reason="the modes of files say nothing there")
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
    done: list[str] = []

    def watched(name: str) -> None:
        real = getattr(os, name)

        def call(*arguments: object) -> None:
            done.append(name)
            real(*arguments)

        monkeypatch.setattr(os, name, call)

    watched("fsync")
    watched("link")
    with drafted(tmp_path / "hidden.json", once=True) as file:
        file.write(b'{"seed": "00"}')
    # The content, the name, and the folder that has it, where a folder can be brought to the disk.
    assert done == ["fsync", "link", "fsync"][: 2 if os.name == "nt" else 3]

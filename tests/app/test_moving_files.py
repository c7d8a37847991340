"""Score files and upload parts move between folders and buckets, and what is missing or damaged is named."""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from app.management import moving
from app.management.move_options import MoveOptions
from app.submissions.opened_storage import open_storage
from tests.app.moving import dump
from tests.app.moving_files import PARTS, Installation, state
from tests.openstack_swift import ACCESS_KEY, SECRET_KEY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.openstack_swift import Swift
    from tests.postgresql import Cluster

SMALL = [b"", b"1", b"scores"]
LARGE = 11 * 1024 * 1024 + 17
"""Size of a file that is sent and read in several pieces."""


@pytest.fixture(params=["folder", "bucket"])
def both(request: pytest.FixtureRequest, tmp_path: Path, migrated: Path, swift: Swift) -> Installation:
    """An installation whose files are in a folder, or in a bucket."""
    return Installation(tmp_path, migrated, swift, request.param)


@pytest.fixture
def installation(tmp_path: Path, migrated: Path, swift: Swift) -> Installation:
    """An installation whose files are in a folder."""
    return Installation(tmp_path, migrated, swift)


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_files_and_parts_arrive_with_equal_bytes_and_stay_at_the_source(both: Installation, kind: str) -> None:
    both.fill(*SMALL, os.urandom(LARGE))
    rows = dump(both.url)
    source = open_storage(both.source)
    with source.receive() as orphan:  # no row knows this file
        orphan.write(b"orphan")
        orphan.flush()
        source.keep(orphan)
    target = both.place("target", kind)
    printed = both.moved("--storage", target)
    both.assert_complete(target)
    source.delete(orphan.sha256)
    both.assert_complete(both.source.storage_url)
    size = sum(map(len, SMALL)) + LARGE + sum(map(len, PARTS))
    assert f"Moved 6 files of {size:,} bytes, and compared every SHA-256.\n" in printed
    assert dump(both.url) == rows


def test_source_folder_is_not_touched(installation: Installation) -> None:
    installation.fill(*SMALL)
    before = state(installation.folder / "data")
    assert len(before) == 5
    installation.moved("--storage", installation.place("target"))
    assert state(installation.folder / "data") == before


def test_new_folder_can_be_read_by_its_owner_alone(installation: Installation) -> None:
    installation.fill(b"scores")
    installation.moved("--storage", str(installation.folder / "new"))
    assert (installation.folder / "new").stat().st_mode & 0o777 == 0o700


def test_printed_settings_work_when_pasted_and_hold_no_secret(installation: Installation, cluster: Cluster) -> None:
    installation.fill(*SMALL)
    place, database = installation.place("target"), cluster.create()
    printed = installation.moved("--storage", f"{place}/", "--database", database)
    assert SECRET_KEY not in printed
    assert ACCESS_KEY not in printed
    assert "From now on, use both for all servers, workers and commands:" in printed
    settings = [line.strip() for line in printed.splitlines() if line.startswith("  ") and "export" in line]
    shown = installation.paste("\n".join([*settings, "env"]), AWS_ENDPOINT_URL="", LDSBOARD_STORAGE_URL="")
    variables = dict(line.split("=", 1) for line in shown.stdout.splitlines() if "=" in line)
    assert variables["LDSBOARD_STORAGE_URL"] == place
    assert variables["LDSBOARD_DATABASE_URL"] == database
    assert variables["AWS_ENDPOINT_URL"] == installation.swift.url
    assert variables["AWS_SECRET_ACCESS_KEY"] == SECRET_KEY
    installation.assert_complete(place)
    assert dump(database) == dump(installation.url)


def test_default_folder_needs_no_setting(tmp_path: Path, migrated: Path, swift: Swift) -> None:
    installation = Installation(tmp_path, migrated, swift, "bucket")
    installation.fill(*SMALL)
    printed = installation.move("--storage", str(tmp_path / "data/files"), LDSBOARD_STORAGE_PUBLIC_URL=swift.url).stdout
    assert printed.split()[-4:] == ["unset", "LDSBOARD_STORAGE_PUBLIC_URL", "unset", "LDSBOARD_STORAGE_URL"]
    assert "The old files are kept, unchanged: in the bucket s3://scores/" in printed
    installation.assert_complete("")


def test_installation_without_files_moves(both: Installation) -> None:
    assert "Moved 0 files of 0 bytes" in both.moved("--storage", both.place("target"))


def test_lost_and_damaged_files_are_named_and_do_not_stop_the_move(both: Installation) -> None:
    both.fill(*SMALL, b"lost", b"damaged", b"short", b"longer", bytes(LARGE))
    lost, damaged, short, longer, large = list(both.contents)[3:]
    place = both.source.storage_url
    open_storage(both.source).delete(lost)
    both.put(place, damaged, b"DAMAGED")
    both.put(place, short, b"shor")
    both.put(place, longer, b"longer!")
    both.put(place, large, bytes(LARGE - 1) + b"!")
    target = both.place("target")
    printed = both.moved("--storage", target)
    both.assert_complete(target, lacking=(lost, damaged, short, longer, large))
    assert "Not moved, because 5 files had faults before the move:" in printed
    for sha256, fault in zip((lost, damaged, short, longer, large), ["lost", *4 * ["damaged"]], strict=True):
        assert f"  file {sha256} is {fault}\n" in printed


def test_lost_and_damaged_files_do_not_stop_the_move_of_rows(installation: Installation, cluster: Cluster) -> None:
    installation.fill(*SMALL, b"lost", b"damaged")
    lost, damaged = list(installation.contents)[3:]
    open_storage(installation.source).delete(lost)
    installation.put("", damaged, b"DAMAGED")
    target, database = installation.place("target"), cluster.create()
    printed = installation.moved("--storage", target, "--database", database)
    assert "Not moved, because 2 files had faults before the move:" in printed
    assert dump(database) == dump(installation.url)
    installation.assert_complete(target, lacking=(lost, damaged))


def test_many_faults_are_counted(installation: Installation) -> None:
    installation.fill(*(f"{number}".encode() for number in range(moving.SHOWN + 3)))
    storage = open_storage(installation.source)
    storage.delete_files(list(installation.contents)[:-1])
    printed = installation.moved("--storage", installation.place("target", "folder"))
    assert printed.count(" is lost\n") == moving.SHOWN
    assert "  and 2 more files\n" in printed


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_repeated_move_sends_only_what_the_target_lacks(both: Installation, kind: str) -> None:
    both.fill(*SMALL, b"wrong size", os.urandom(LARGE))
    target = both.place("target", kind)
    both.moved("--storage", target)
    wrong, large = list(both.contents)[3:]
    both.put(target, wrong, b"wrong")
    open_storage(both.settings(target)).delete(large)
    # The file was damaged, or lost, at the source after it had arrived: the target has it.
    open_storage(both.source).delete(hashlib.sha256(b"scores").hexdigest())
    printed = both.moved("--storage", target)
    assert (
        f"Moved 2 files of {10 + LARGE:,} bytes, and compared every SHA-256. 5 files were there already.\n" in printed
    )
    both.assert_complete(target)


def test_damaged_file_of_the_right_size_in_a_folder_is_replaced(both: Installation) -> None:
    both.fill(*SMALL)
    target = both.place("target", "folder")
    both.moved("--storage", target)
    both.put(target, hashlib.sha256(b"scores").hexdigest(), b"SCORES")
    assert "Moved 1 file of 6 bytes" in both.moved("--storage", target)
    both.assert_complete(target)


def test_progress_grows_to_the_whole(both: Installation) -> None:
    both.fill(*SMALL, bytes(LARGE))
    seen: list[float] = []

    @contextmanager
    def progress(name: str) -> Iterator[Callable[[float], object]]:
        assert name == "Moving score files"
        yield seen.append

    for _ in range(2):  # the second time, everything is there already
        moving.move(both.source, MoveOptions(storage=both.place("target")), progress)
        assert (seen == sorted(seen), seen[-1]) == (True, 1)
        seen.clear()


def test_full_disk_of_a_folder_is_noticed_before_and_while_files_arrive(
    both: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    both.fill(*SMALL, b"x" * 1000)
    target, spare = both.place("target", "folder"), both.source.spare_bytes
    total = 7 + 1000 + sum(map(len, PARTS))
    free = [total - 1 + spare]

    class Usage:
        def __init__(self, folder: Path) -> None:
            self.free = free[0] if "target" in str(folder) else 2**40
            free[0] -= 1000  # another process fills the disk

    monkeypatch.setattr("app.submissions.storage.shutil.disk_usage", Usage)
    assert f"lacks room for {total:,} bytes. Free space" in both.refusal("--storage", target)
    assert state(both.folder / "target") == {}
    free[0] = total + spare
    assert "lacks room for" in both.refusal("--storage", target)
    free[0] = 2**30
    both.moved("--storage", target)
    both.assert_complete(target)


def test_full_disk_of_the_data_folder_does_not_keep_files_from_a_bucket(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation.fill(*SMALL, bytes(LARGE))

    class Usage:
        free = 0

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage())
    installation.moved("--storage", installation.place("target"))
    monkeypatch.undo()
    installation.assert_complete(installation.place("target"))

"""`doctor` finds damaged, unfinished and half removed snapshots."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from app.leaderboard.stored_snapshots import REMOVAL, SUMS
from app.management.consistency import inspect_snapshots
from tests.app.archive import DAY, Archive, damage
from tests.app.commands import run_in_process
from tests.app.service import Service

if TYPE_CHECKING:
    from pathlib import Path

    from app.db.sessions import Database
    from tests.app.benchmarks import Example


@pytest.fixture
def archive(database: Database, tmp_path: Path, toy: Example, monkeypatch: pytest.MonkeyPatch) -> Archive:
    return Archive(database, tmp_path, toy, monkeypatch)


def test_doctor_finds_damaged_lost_and_strange_files(archive: Archive) -> None:
    folder = archive.take().folder
    assert archive.findings() == []
    damage(folder / "per-target.npz")
    (folder / "README.txt").unlink()
    (folder / "notes.txt").write_text("not from the server")
    quick = [f"snapshot toy 1 {DAY}: notes.txt does not belong to it.", f"snapshot toy 1 {DAY}: README.txt is missing."]
    repair = " Restore the folder of this snapshot from a backup or an archive."
    assert archive.findings(quick=True) == [text + repair for text in quick]
    assert archive.findings() == [
        *(text + repair for text in quick),
        f"snapshot toy 1 {DAY}: per-target.npz is damaged.{repair}",
    ]
    (folder / SUMS).unlink()
    (folder / SUMS).write_text("no hash\n")
    assert archive.findings() == [f"snapshot toy 1 {DAY}: SHA256SUMS is missing or damaged.{repair}"]


def test_doctor_repairs_interrupted_snapshots_and_removals(archive: Archive) -> None:
    folder = archive.take().folder
    draft = folder.with_name(f".{DAY}.0123456789abcdef")
    draft.mkdir()
    (draft / SUMS).touch()
    (folder / REMOVAL).write_text('{"removed_on": "2026-11-29", "reason": "Killed before the files were deleted."}')
    found = list(inspect_snapshots(archive.root, quick=True))
    assert [finding.message for finding in found] == [
        f"snapshot toy 1 {draft.name} was not written completely",
        f"snapshot toy 1 {DAY} is removed, but has files",
    ]
    for finding in found:
        assert finding.repair is not None
        finding.repair()
    assert archive.findings() == []
    assert [path.name for path in folder.parent.rglob("*")] == [DAY, REMOVAL]


def test_doctor_command_checks_and_repairs_snapshots_also_of_a_restored_backup(tmp_path: Path, toy: Example) -> None:
    stopped = Service(tmp_path)
    try:
        stopped.publish(toy.folder)
        assert run_in_process(stopped, "snapshot", "toy").exit_code == 0
        folder = next(stopped.settings.snapshots_dir.glob("toy/1/*"))
        backup = shutil.copytree(stopped.settings.data_dir, tmp_path / "backup")
        draft = folder.with_name(".draft")
        draft.mkdir()
        damage(folder / "leaderboard.json")
        for options in ((), ("--repair",)):
            run = run_in_process(stopped, "doctor", *options)
            assert run.exit_code == 1
            assert f"snapshot toy 1 {folder.name}: leaderboard.json is damaged." in run.output
            assert "snapshot toy 1 .draft was not written completely" in run.output
        assert not draft.exists()
        shutil.rmtree(stopped.settings.data_dir)
        backup.rename(stopped.settings.data_dir)
        assert run_in_process(stopped, "doctor").stdout == "Database rows and files agree.\n"
    finally:
        stopped.__exit__(None, None, None)

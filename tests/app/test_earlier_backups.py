"""Folders that hold no backup of this installation are refused, and a faulty backup takes nothing from an earlier one."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from app.__main__ import cli
from app.accounts import audit
from app.accounts.audit import Action
from app.db.migration import upgrade
from app.db.sessions import Database
from app.management import backups
from app.management.backups import BackupError, back_up
from app.settings import Settings
from tests.app.service import npy
from tests.app.test_backup import settings_of, withdraw

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness


def test_folder_that_cannot_hold_a_backup_is_refused(harness: ServiceHarness, tmp_path: Path, elsewhere: Path) -> None:
    settings = settings_of(harness, tmp_path)
    elsewhere.mkdir()
    (elsewhere / "thesis.tex").write_text("mine")
    file = elsewhere.with_name("file")
    file.write_text("")
    for folder, reason in (
        (elsewhere, "holds other files"),
        (tmp_path / "inside", "part of the installation"),
        (tmp_path, "part of the installation"),
        (tmp_path.parent, "part of the installation"),
        (file, "is a file"),
        (elsewhere.parent / "missing" / "backup", "no folder .*missing. Create it: mkdir -p .*missing"),
    ):
        with pytest.raises(BackupError, match=reason):
            back_up(settings, harness.database, folder, None)
    assert [path.name for path in elsewhere.iterdir()] == ["thesis.tex"]


def test_missing_parent_of_the_folder_is_named_before_the_database_is_opened(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    folder = tmp_path / "a missing/board"
    away = {"LDSBOARD_DATA_DIR": str(tmp_path / "data"), "LDSBOARD_DATABASE_URL": "postgresql://db.invalid/board"}
    refused = CliRunner().invoke(cli, ["backup", str(folder)], env=away, catch_exceptions=False)
    assert (refused.exit_code, refused.stdout) == (2, "")
    hint = " ".join(refused.stderr.split()).rsplit("Create it: ", 1)[1]
    subprocess.run(["/bin/bash", "-c", hint], check=True)
    assert folder.parent.is_dir()


def content(folder: Path) -> dict[str, bytes]:
    """Return the bytes of each file in a folder, except those that every backup writes anew."""
    written = {backups.LOCK, backups.DATABASE}
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in written
    }


@pytest.mark.database
def test_backup_with_the_wrong_data_folder_keeps_the_files_of_an_earlier_one(
    harness: ServiceHarness, toy: Example, tmp_path: Path, elsewhere: Path
) -> None:
    harness.accept(npy(toy.scores()))
    (tmp_path / "session-key").write_text("right")
    back_up(settings_of(harness, tmp_path), harness.database, elsewhere, None)
    earlier = content(elsewhere)
    assert any(name.startswith("benchmarks/toy") for name in earlier)
    wrong = elsewhere.with_name("wrong")
    wrong.mkdir()
    (wrong / "session-key").write_text("wrong")
    (wrong / "note").write_text("new")
    withdraw(harness, harness.accept(npy(toy.scores(seed=1)), "m-1"))
    url = harness.database.engine.url.render_as_string(hide_password=False)
    done = back_up(Settings(data_dir=wrong, database_url=url), harness.database, elsewhere, None)
    assert any("toy version 1 cannot be read" in fault for fault in done.faults), done.faults
    assert content(elsewhere) == earlier | {"note": b"new"}
    # Without faults, what the installation lacks is deleted again.
    assert back_up(settings_of(harness, tmp_path), harness.database, elsewhere, None).faults == []
    assert content(elsewhere) == earlier


def test_backup_of_another_installation_or_of_a_later_state_is_kept(
    harness: ServiceHarness, toy: Example, tmp_path: Path, elsewhere: Path
) -> None:
    def act(database: Database) -> None:
        with database.write() as session:
            audit.record_action(session, audit.OPERATOR, Action.SUBMISSION_RESCORED, "all")

    act(harness.database)
    harness.accept(npy(toy.scores()))
    back_up(settings_of(harness, tmp_path), harness.database, elsewhere, None)
    earlier = {path: path.read_bytes() for path in elsewhere.rglob("*") if path.is_file()}
    with pytest.MonkeyPatch.context() as patch:
        # An earlier state of the installation, such as the SQLite file that a move to PostgreSQL has kept.
        state = shutil.copytree(elsewhere, elsewhere.with_name("state"))
        act(harness.database)
        back_up(settings_of(harness, tmp_path), harness.database, elsewhere, None)
        for path in (state / "ldsboard.sqlite3", elsewhere.with_name("other.sqlite3")):
            url = f"sqlite:///{path}"
            upgrade(url)
            with closing(Database(url)) as database:
                if path.parent != state:
                    act(database)
                    act(database)
                with pytest.raises(BackupError, match="another installation, or of a later state"):
                    back_up(Settings(data_dir=state, database_url=url), database, elsewhere, None)
        assert {path for path in elsewhere.rglob("*") if path.is_file()} >= earlier.keys()
        # Rows that are older than the audit log can be missing.
        patch.setattr(backups, "AUDIT_KEPT", timedelta(0))
        back_up(settings_of(harness, tmp_path), harness.database, elsewhere, None)
    (elsewhere / backups.DATABASE).write_bytes(b"no database")
    with pytest.raises(BackupError, match="cannot be read"):
        back_up(settings_of(harness, tmp_path), harness.database, elsewhere, None)

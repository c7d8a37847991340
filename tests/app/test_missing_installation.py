"""A misspelt setting names no installation: operator's commands say so, and create nothing."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import inspect
from typer.testing import CliRunner

from app.__main__ import cli
from app.db.migration import upgrade
from app.db.sessions import Database

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

    from tests.postgresql import Cluster

COMMANDS = [
    "backup {}",
    "benchmark as-published toy values.toml",
    "benchmark list",
    "benchmark reserve toy",
    "benchmark retire toy --yes",
    "doctor",
    "doctor --quick",
    "doctor --repair",
    "move --storage {}",
    "prune",
    "rescore",
    "snapshot toy",
    "submission reinstate 3f2a9c0d51e84b76",
    "submission suspend 3f2a9c0d51e84b76 --reason x",
    "token create ada",
    "token list ada",
    "token revoke ada ci",
    "user add ada",
    "user approve ada",
    "user ban ada --reason x",
    "user delete ada --yes",
    "user export ada ada.json",
    "user unban ada",
    "work",
]
"""All commands but those that create an installation: serve, migrate, demo, and benchmark publish and import."""


def run(command: str, folder: Path, **settings: str) -> Result:
    """Run a command in this process; return its result without line breaks in the error."""
    arguments = [word.format(folder / "target") for word in command.split()]
    environment = {f"LDSBOARD_{name.upper()}": value for name, value in settings.items()}
    return CliRunner().invoke(cli, arguments, env=environment, catch_exceptions=False)


@pytest.mark.parametrize("command", COMMANDS)
def test_misspelt_data_folder_is_named_and_not_created(
    command: str, tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LDSBOARD_PUBLIC_URL", "http://localhost")
    upgrade(used := cluster.create())
    (tmp_path / "empty").mkdir(mode=0o755)
    for name, settings in (("typo", {}), ("typo", {"database_url": used}), ("empty", {})):
        refused = run(command, tmp_path, data_dir=str(tmp_path / name), **settings)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert f"There is no data{'base at' if name == 'empty' else ' folder'} {tmp_path / name}" in refused.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]
    assert (tmp_path / "empty").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_database_without_tables_is_named_and_not_migrated(kind: str, tmp_path: Path, cluster: Cluster) -> None:
    (folder := tmp_path / "data").mkdir()
    (path := folder / "empty.sqlite3").touch()
    url = f"sqlite:///{path}" if kind == "sqlite" else cluster.create("template0")
    for command in ("doctor", "backup {}", "user add ada"):
        refused = run(command, tmp_path, data_dir=str(folder), database_url=url)
        assert (refused.exit_code, "holds no tables of LDSBoard" in refused.stderr) == (2, True), refused.stderr
    with closing(Database(url)) as database, database.engine.connect() as connection:
        assert inspect(connection).get_table_names() == []
    assert [path.name for path in folder.iterdir()] == ["empty.sqlite3"]


def test_misspelt_folder_of_score_files_is_named_and_not_created(tmp_path: Path, migrated: Path) -> None:
    (tmp_path / "data").mkdir()
    settings = {"data_dir": str(tmp_path / "data"), "database_url": f"sqlite:///{migrated}"}
    assert run("doctor", tmp_path, **settings).exit_code == 0
    for command in ("doctor", "backup {}", "move --storage {}"):
        refused = run(command, tmp_path, storage_url=str(tmp_path / "typo"), **settings)
        assert (refused.exit_code, f"no folder {tmp_path / 'typo'}" in refused.stderr) == (2, True), refused.stderr
    assert not (tmp_path / "typo").exists()

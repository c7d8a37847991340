"""Readiness: each part of a server that is not ready is named, alone and together with others."""

from __future__ import annotations

from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from app.db.sessions import Database
from app.management.readiness import Part, find_faults
from app.submissions.folder_storage import FolderStorage

if TYPE_CHECKING:
    from pathlib import Path

    from app.scoring.sandbox.client import Sandbox
    from tests.app.service import Service


def _sandbox(*, is_restarting: bool = False) -> Sandbox:
    return cast("Sandbox", SimpleNamespace(is_restarting=is_restarting))


@pytest.mark.database
def test_ready_parts_have_no_fault(database: Database, tmp_path: Path) -> None:
    with database.read() as session:
        faults = find_faults(session, FolderStorage(tmp_path / "files"), _sandbox())
    assert faults == {Part.DATABASE: None, Part.STORE: None, Part.SCORING: None}


def test_every_fault_names_its_part_and_what_to_do(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path / "files")
    (storage.folder / "arriving").rmdir()
    storage.folder.rmdir()
    with closing(Database(f"sqlite:///{tmp_path / 'empty.sqlite3'}")) as empty, empty.read() as session:
        faults = find_faults(session, storage, _sandbox(is_restarting=True))
    details = {part: fault.detail for part, fault in faults.items() if fault}
    assert details == {
        Part.DATABASE: "The database has no tables.",
        Part.STORE: "The folder of uploaded files is missing.",
        Part.SCORING: (
            "No file can be scored: a scoring process or the fork server does not respond and is being replaced."
        ),
    }
    assert all(fault.hint and fault.code == "internal.unready" for fault in faults.values() if fault)


def test_unreachable_postgresql_does_not_answer(tmp_path: Path) -> None:
    with closing(Database("postgresql://nobody@localhost:1/none")) as away, away.read() as session:
        faults = find_faults(session, FolderStorage(tmp_path / "files"), _sandbox())
    assert (fault := faults[Part.DATABASE]) is not None
    assert fault.detail == "The database does not answer."
    assert faults[Part.STORE] is faults[Part.SCORING] is None


def test_ready_server_names_its_parts(service: Service) -> None:
    response = service.client.get(f"{service.url}/readyz")
    assert response.json() == {
        "status": "ready",
        "parts": {"database": "ready", "store": "ready", "scoring": "ready"},
    }


def test_unready_server_says_which_part_is_not_ready(service: Service) -> None:
    folder = service.settings.storage_dir
    aside = folder.rename(folder.with_name("away"))
    try:
        response = service.client.get(f"{service.url}/readyz")
    finally:
        aside.rename(folder)
    assert (response.status_code, response.headers["content-type"]) == (503, "application/problem+json")
    problem = response.json()
    assert (problem["code"], problem["status"]) == ("internal.unready", 503)
    assert problem["detail"] == "The folder of uploaded files is missing."
    assert problem["parts"] == {"database": "ready", "store": "unready", "scoring": "ready"}

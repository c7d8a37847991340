"""`doctor` finds damaged bytes: in benchmarks, in stored score files, in upload parts and in the database."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import timedelta
from shutil import copy
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from app.__main__ import cli
from app.cli.maintenance import find_inconsistencies
from app.db.integrity import find_damage
from app.db.models import Evaluation, Measurement, State, Submission
from app.db.uploads import Upload, UploadPart
from app.management.consistency import inspect, inspect_submissions
from app.scoring.queue import MAX_FAILURES
from app.submissions import multipart
from tests.app.benchmarks import write_benchmark
from tests.app.service import npy
from tests.app.test_filled_migrations import HEAD, FilledDatabase

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result

    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness

PAGE_BYTES = 4096


def _flip_bit(path: Path, share: float = 0.5) -> None:
    """Flip one bit of a file, at this share of its length."""
    content = bytearray(path.read_bytes())
    content[int(share * len(content))] ^= 1
    path.write_bytes(content)


def _findings(harness: ServiceHarness, *, quick: bool = False) -> list[str]:
    return find_inconsistencies(harness.database, harness.storage, harness.benchmarks, quick=quick)


def _repair(harness: ServiceHarness) -> None:
    with harness.database.write() as session:
        for finding in inspect(session, harness.storage, harness.benchmarks):
            if finding.repair is not None:
                finding.repair()
                session.flush()


def _stored_file(harness: ServiceHarness, submission_id: str) -> Path:
    with harness.database.read() as session:
        return harness.storage.path(str(session.get_one(Submission, submission_id).file_sha256))


@pytest.mark.parametrize(
    "name", ["hidden/masks.npy", "hidden/margins.npy", "downloads/public.npz", "downloads/kit.zip"]
)
def test_flipped_bit_in_a_benchmark_is_found(harness: ServiceHarness, name: str) -> None:
    assert _findings(harness) == []
    _flip_bit(harness.benchmarks / "toy" / "1" / name, 1 / 3)
    (finding,) = _findings(harness)
    assert finding.startswith("toy version 1 cannot be read: ")
    assert name in finding
    assert _findings(harness, quick=True) == []


def test_missing_download_is_found(harness: ServiceHarness) -> None:
    (harness.benchmarks / "toy" / "1" / "downloads" / "kit.zip").unlink()
    (finding,) = _findings(harness)
    assert "kit.zip" in finding


def test_changed_manifest_is_found(harness: ServiceHarness) -> None:
    path = harness.benchmarks / "toy" / "1" / "public" / "benchmark.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"ceiling": 0.5}))
    (finding,) = _findings(harness)
    assert "benchmark.json differs from the manifest in the database" in finding
    assert _findings(harness, quick=True) == []


def test_benchmark_with_public_subsets_only_has_no_damage(harness: ServiceHarness, open_toy: Example) -> None:
    harness.publish(open_toy.folder)
    assert _findings(harness) == []


def test_flipped_bit_in_a_stored_file_is_found(harness: ServiceHarness, toy: Example) -> None:
    scored = harness.accept(npy(toy.scores()))
    assert harness.evaluator.evaluate_next()
    queued = harness.accept(npy(toy.scores(seed=1)), "theirs")
    for submission_id in (scored, queued):
        _flip_bit(_stored_file(harness, submission_id))
    expected = [
        f"the file of submission {scored} is damaged: the results stay, but the submission cannot be scored again",
        f"the file of submission {queued} is damaged, and the submission is queued",
    ]
    assert _findings(harness) == expected
    assert _findings(harness, quick=True) == []
    _repair(harness)
    assert (harness.state(scored), harness.state(queued)) == (State.SCORED, State.FAILED)
    assert _findings(harness) == [
        expected[0],
        f"the file of submission {queued} is damaged: the submission cannot be scored again",
    ]


@pytest.mark.parametrize("share", [0, 0.5], ids=["header", "scores"])
def test_damaged_queued_file_gets_no_result(harness: ServiceHarness, toy: Example, share: float) -> None:
    queued = harness.accept(npy(toy.scores()))
    _flip_bit(_stored_file(harness, queued), share)
    for state in (*[State.QUEUED] * (MAX_FAILURES - 1), State.FAILED):
        assert harness.evaluator.evaluate_next()
        assert harness.state(queued) == state
    with harness.database.read() as session:
        error = session.get_one(Submission, queued).error
    assert error is not None
    assert (error["code"], error["detail"]) == ("internal.failed", "The stored file is damaged.")
    assert harness.count(Measurement) == 0


def test_rescoring_of_a_damaged_file_keeps_the_earlier_results(
    harness: ServiceHarness, toy: Example, tmp_path: Path
) -> None:
    scored = harness.accept(npy(toy.scores()))
    assert harness.evaluator.evaluate_next()
    _flip_bit(_stored_file(harness, scored))
    harness.publish(write_benchmark(tmp_path / "new", version=2).folder)
    while harness.evaluator.evaluate_next():
        pass
    assert (harness.state(scored), harness.count(Measurement)) == (State.SCORED, 2)
    assert harness.leaderboard() == (1, 1, {scored})
    with harness.database.read() as session:
        assert session.scalars(select(Evaluation.failures).order_by(Evaluation.id)).all() == [0, MAX_FAILURES]


def test_damaged_file_is_replaced_when_its_owner_sends_it_again(harness: ServiceHarness, toy: Example) -> None:
    content = npy(toy.scores())
    queued = harness.accept(content)
    _flip_bit(_stored_file(harness, queued))
    _repair(harness)
    assert harness.state(queued) == State.FAILED
    again = harness.accept(content)
    assert _findings(harness) == []
    assert harness.evaluator.evaluate_next()
    assert harness.state(again) == State.SCORED


def test_damaged_upload_part_is_found_and_asked_for_again(harness: ServiceHarness) -> None:
    content = [bytes(100), bytes(range(100))]
    submission_id = harness.reserve(200)
    with harness.database.write() as session:
        submission = session.get_one(Submission, submission_id)
        multipart.open_upload(session, submission, "ab" * 32, 100, timedelta(hours=1))
    for number, sent in enumerate(content):
        with harness.storage.receive() as arrival, harness.database.write() as session:
            arrival.write(sent)
            arrival.flush()
            upload = session.get_one(Upload, submission_id)
            multipart.receive_part(session, harness.storage, upload, number, arrival)
    assert _findings(harness) == []
    _flip_bit(harness.storage.part_path(submission_id, 1))
    assert _findings(harness) == [f"upload part 1 of the upload {submission_id} is damaged"]
    assert _findings(harness, quick=True) == []
    _repair(harness)
    assert _findings(harness) == []
    with harness.database.read() as session:
        assert session.scalars(select(UploadPart.number)).all() == [0]
        # A part that was sent again since its damage was seen is no finding.
        seen = {harness.storage.part_key(submission_id, 0, "")}
        assert list(inspect_submissions(session, harness.storage, seen)) == []


@pytest.fixture
def filled(tmp_path: Path) -> FilledDatabase:
    """A database with rows in every table, in one file without a write-ahead log."""
    database = FilledDatabase(tmp_path / "filled.sqlite3", HEAD)
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return database


def test_intact_database_has_no_damage(filled: FilledDatabase, tmp_path: Path) -> None:
    assert find_damage(filled.url) == []
    assert find_damage(f"sqlite:///{tmp_path / 'missing.sqlite3'}") == []
    assert not (tmp_path / "missing.sqlite3").exists()


def test_every_zeroed_page_of_a_table_or_an_index_is_found(filled: FilledDatabase, tmp_path: Path) -> None:
    roots = [
        1,
        *(int(str(page)) for (page,) in filled.execute("SELECT rootpage FROM sqlite_master WHERE rootpage > 0")),
    ]
    undetected = []
    for page in roots:
        damaged = tmp_path / f"damaged-{page}.sqlite3"
        copy(filled.path, damaged)
        with damaged.open("r+b") as file:
            file.seek((page - 1) * PAGE_BYTES)
            file.write(bytes(PAGE_BYTES))
        if not find_damage(f"sqlite:///{damaged}"):
            undetected.append(page)
    assert len(roots) > len(filled.tables())
    assert undetected == []


def test_flipped_bit_in_an_index_is_found(filled: FilledDatabase) -> None:
    ((root,),) = filled.execute("SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_user_1'")
    content = bytearray(filled.path.read_bytes())
    content[content.index(b"alice", (int(str(root)) - 1) * PAGE_BYTES)] ^= 1
    filled.path.write_bytes(content)
    damage = find_damage(filled.url)
    assert damage
    assert any("index" in line for line in damage)


def test_database_that_is_cut_short_is_damaged(filled: FilledDatabase) -> None:
    with filled.path.open("r+b") as file:
        file.truncate(3 * PAGE_BYTES)
    assert find_damage(filled.url)


def test_rows_that_refer_to_missing_rows_are_found(filled: FilledDatabase) -> None:
    filled.execute("UPDATE token SET user_id = 99 WHERE id = 3")
    assert find_damage(filled.url) == ["row 3 of table token refers to a missing row of table user"]


@pytest.mark.parametrize(("table", "column"), [("version", "manifest"), ("event", "at")])
def test_value_that_is_not_of_its_type_is_found(filled: FilledDatabase, table: str, column: str) -> None:
    filled.execute(f"UPDATE {table} SET {column} = '?' WHERE id = 1")  # noqa: S608 -- names of the schema
    (damage,) = find_damage(filled.url)
    assert damage.startswith(f"table {table} holds a value that cannot be read: ")


def _doctor(harness: ServiceHarness, *options: str) -> Result:
    url = str(harness.database.engine.url)
    settings = {
        "LDSBOARD_DATA_DIR": str(harness.benchmarks.parent),
        "LDSBOARD_DATABASE_URL": url,
    }
    return CliRunner().invoke(cli, ["doctor", *options], env=settings, catch_exceptions=False)


def test_doctor_reports_damaged_files_unless_it_is_quick(harness: ServiceHarness, toy: Example) -> None:
    submission_id = harness.accept(npy(toy.scores()))
    assert (_doctor(harness).exit_code, _doctor(harness, "--quick").exit_code) == (0, 0)
    _flip_bit(_stored_file(harness, submission_id))
    _flip_bit(harness.benchmarks / "toy" / "1" / "hidden" / "masks.npy")
    found = _doctor(harness)
    assert found.exit_code == 1
    assert "masks.npy was altered" in found.stdout
    assert f"the file of submission {submission_id} is damaged" in found.stdout
    quick = _doctor(harness, "--quick")
    assert (quick.exit_code, quick.stdout) == (0, "Database rows and files agree.\n")
    quickly_repaired = _doctor(harness, "--quick", "--repair")
    assert (quickly_repaired.exit_code, harness.state(submission_id)) == (0, State.QUEUED)
    repaired = _doctor(harness, "--repair")
    assert (repaired.exit_code, harness.state(submission_id)) == (1, State.FAILED)


def test_doctor_neither_migrates_nor_repairs_a_damaged_database(filled: FilledDatabase, tmp_path: Path) -> None:
    filled.migrate("-1", down=True)
    filled.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with closing(sqlite3.connect(filled.path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'event'").fetchone()
    with filled.path.open("r+b") as file:
        file.seek((page - 1) * PAGE_BYTES)
        file.write(bytes(PAGE_BYTES))
    before = filled.path.read_bytes()
    settings = {"LDSBOARD_DATA_DIR": str(tmp_path / "data"), "LDSBOARD_DATABASE_URL": filled.url}
    result = CliRunner().invoke(cli, ["doctor", "--repair"], env=settings, catch_exceptions=False)
    assert result.exit_code == 1
    assert "The database is damaged: " in result.stdout
    assert "backup" in result.stdout
    assert filled.path.read_bytes() == before

"""Snapshots of leaderboards: what the files hold, that no byte changes later, and removals."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml
from sqlalchemy import select, update

from app.accounts.audit import OPERATOR
from app.db.models import Evaluation, Measurement, Submission, Version, Visibility
from app.leaderboard.ranking import Ranker
from app.leaderboard.stored_snapshots import REMOVAL, SUMS, find_snapshot, snapshot_links
from app.management import account_deletion, snapshots
from app.management.snapshots import SnapshotError, Taken
from app.submissions.folder_storage import FolderStorage
from ldsboard.problems import ProblemError
from tests.app.archive import DAY, URL, Archive, damage, file_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from app.db.sessions import Database
    from tests.app.benchmarks import Example


@pytest.fixture
def archive(database: Database, tmp_path: Path, toy: Example, monkeypatch: pytest.MonkeyPatch) -> Archive:
    return Archive(database, tmp_path, toy, monkeypatch)


def test_snapshot_holds_the_public_board(archive: Archive) -> None:
    taken = archive.take()
    assert taken == Taken(archive.root / "toy" / "1" / DAY, f"{URL}/benchmarks/toy/versions/1/{DAY}", is_new=True)
    rows = json.loads((taken.folder / "leaderboard.json").read_text())["rows"]
    assert rows == json.loads(archive.board())["rows"]
    assert len(rows) == 12
    table = list(csv.DictReader(io.StringIO((taken.folder / "leaderboard.csv").read_text())))
    assert [line["id"] for line in table] == [row["id"] for row in rows]
    about = json.loads((taken.folder / "snapshot.json").read_text())
    assert (about["date"], about["entries"], about["address"]) == (DAY, 12, taken.address)
    with np.load(taken.folder / "per-target.npz", allow_pickle=False) as arrays:
        assert arrays["ids"].tolist() == [row["id"] for row in rows]
        assert arrays["rho"].shape == (12, 7)
        stated = about["per_target"]
        assert {name: (array.dtype.str, list(array.shape)) for name, array in arrays.items()} == {
            name: (stated[name]["dtype"], stated[name]["shape"]) for name in ("ids", "rho")
        }


def test_rho_is_that_of_the_public_subsets_in_the_order_of_the_rows(archive: Archive) -> None:
    rho = {}
    with archive.database.write() as session:
        for evaluation in session.scalars(select(Evaluation)):
            for part in ("public", "ranking"):
                rho_N = np.random.default_rng([evaluation.id, len(part)]).normal(size=7)
                rho[evaluation.submission_id, part] = rho_N
                found = (Measurement.evaluation_id == evaluation.id, Measurement.part == part)
                session.execute(update(Measurement).where(*found).values(per_target=rho_N.astype("<f8").tobytes()))
    with np.load(archive.take().folder / "per-target.npz") as arrays:
        expected = [rho[submission_id, "public"] for submission_id in arrays["ids"].tolist()]
        assert np.array_equal(arrays["rho"], expected)


def test_numbers_are_rounded_and_anonymous_owners_stay_unknown(archive: Archive) -> None:
    folder = archive.take().folder
    rows = json.loads((folder / "leaderboard.json").read_text())["rows"]
    assert all(row["lds"] == round(row["lds"], 4) for row in rows)
    manifest = json.loads((folder / "benchmark.json").read_text())
    assert manifest["ceiling"] == round(manifest["ceiling"], 4)
    (hidden,) = [row for row in rows if row["id"] == archive.anonymous.id]
    assert (hidden["owner"].startswith("anonymous-"), hidden["method"]) == (True, "withheld")
    for name, content in file_bytes(folder).items():
        assert archive.anonymous.title.encode() not in content, name
        assert archive.anonymous.method.encode() not in content, name


def test_sha256sum_accepts_the_hashes_and_refuses_a_changed_byte(archive: Archive) -> None:
    folder = archive.take().folder
    command = ["sha256sum", "--strict", "-c", SUMS]
    checked = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked
    assert checked.stdout.count(": OK\n") == len(file_bytes(folder)) - 1
    damage(folder / "leaderboard.csv")
    assert subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode == 1


def test_citation_file_is_valid(archive: Archive) -> None:
    with archive.database.write() as session:
        version = session.scalars(select(Version)).one()
        version.manifest = version.manifest | {
            "title": 'A "title": with\nlines, \\ and \x85 \N{GREEK SMALL LETTER ALPHA}'
        }
    citation = yaml.safe_load((archive.take().folder / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation == {
        "cff-version": "1.2.0",
        "message": citation["message"],
        "type": "dataset",
        "title": f'A "title": with lines, \\ and \N{GREEK SMALL LETTER ALPHA}: leaderboard of toy version 1 on {DAY}',
        "version": "1",
        "date-released": DAY,
        "url": f"{URL}/benchmarks/toy/versions/1/{DAY}",
        "authors": [{"name": "Contributors to LDSBoard at board.example.org"}],
    }


def test_new_entry_changes_the_board_and_no_byte_of_the_snapshot(archive: Archive) -> None:
    folder = archive.take().folder
    before, board = file_bytes(folder), archive.board()
    archive.send()
    assert archive.board() != board
    with pytest.raises(SnapshotError, match=r"exists with other content \(SHA256SUMS, leaderboard\.csv"):
        archive.take()
    assert file_bytes(folder) == before
    archive.today += timedelta(days=1)
    assert len(json.loads((archive.take().folder / "leaderboard.json").read_text())["rows"]) == 13
    assert [link.date for link in snapshot_links(archive.root, "toy", 1)] == ["2026-11-29", DAY]
    assert file_bytes(folder) == before


def test_deleted_account_is_named_in_earlier_snapshots_only(archive: Archive, tmp_path: Path) -> None:
    folder = archive.take().folder
    before = file_bytes(folder)
    with archive.database.read() as session:
        entry = session.scalars(select(Submission).where(Submission.visibility == Visibility.PUBLIC)).first()
        assert entry is not None
        name, owner_id = entry.user.name, entry.user_id
    storage = FolderStorage(tmp_path / "files")
    account_deletion.delete_account(archive.database, Ranker(archive.database), storage, owner_id, OPERATOR)
    archive.today += timedelta(days=1)
    later = archive.take().folder
    assert f'"owner": "{name}"' in before["leaderboard.json"].decode()
    assert f'"owner": "{name}"' not in (later / "leaderboard.json").read_text()
    assert f'"owner": "deleted-{owner_id}"' in (later / "leaderboard.json").read_text()
    assert file_bytes(folder) == before


def test_second_snapshot_of_an_unchanged_board_is_the_same(archive: Archive) -> None:
    first = archive.take()
    stamps = {path: path.stat().st_mtime_ns for path in first.folder.iterdir()}
    assert archive.take() == first._replace(is_new=False)
    assert {path: path.stat().st_mtime_ns for path in first.folder.iterdir()} == stamps


def test_simultaneous_writers_keep_the_first_folder(archive: Archive) -> None:
    folder = archive.take().folder
    before = file_bytes(folder)
    snapshots._write(folder, {SUMS: b"of another process"})
    assert file_bytes(folder) == before
    assert list(folder.parent.iterdir()) == [folder]


def test_files_are_read_only_and_no_draft_remains(archive: Archive) -> None:
    folder = archive.take().folder
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o444}
    assert list(folder.parent.iterdir()) == [folder]


def test_failed_snapshot_leaves_nothing(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(snapshots.os, "fsync", fail)  # type: ignore[attr-defined]
    with pytest.raises(OSError, match="full"):
        archive.take()
    assert list((archive.root / "toy" / "1").iterdir()) == []


def test_board_that_is_not_ranked_gives_no_snapshot(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ranker, "renew_all", lambda _: None)
    with pytest.raises(SnapshotError, match="Run the command again"):
        archive.take()
    assert not archive.root.exists()


def test_removed_snapshot_says_so_and_its_day_stays_taken(archive: Archive) -> None:
    folder = archive.take().folder
    archive.today += timedelta(days=2)
    snapshots.remove(archive.root, "toy", 1, DAY, "A court order.")
    assert json.loads((folder / REMOVAL).read_text()) == {"removed_on": "2026-11-30", "reason": "A court order."}
    assert [path.name for path in folder.iterdir()] == [REMOVAL]
    message = r"removed the snapshot of 2026-11-28 on 2026-11-30: A court order\."
    with pytest.raises(ProblemError, match=message):
        find_snapshot(archive.root, "toy", 1, DAY)
    with pytest.raises(ProblemError, match=message):
        snapshots.remove(archive.root, "toy", 1, DAY, "Again.")
    assert snapshot_links(archive.root, "toy", 1) == []
    assert archive.findings() == []
    archive.today -= timedelta(days=2)
    with pytest.raises(SnapshotError, match="was removed"):
        archive.take()


@pytest.mark.parametrize("reason", ["", " ", "two\nlines", "x" * 501])
def test_removal_needs_a_reason(archive: Archive, reason: str) -> None:
    folder = archive.take().folder
    before = file_bytes(folder)
    with pytest.raises(SnapshotError, match="--reason"):
        snapshots.remove(archive.root, "toy", 1, DAY, reason)
    assert file_bytes(folder) == before

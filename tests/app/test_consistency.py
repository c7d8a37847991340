"""The consistency check finds differences between database and files, and repairs them where possible."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import delete, select, update

from app.cli.maintenance import find_inconsistencies
from app.db.models import Evaluation, File, Measurement, State, Submission
from app.management.consistency import inspect
from app.submissions.folder_storage import FolderStorage
from tests.app.commands import run_in_process
from tests.app.service import Service, npy

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness


def _findings(harness: ServiceHarness, *, repair: bool = False) -> list[str]:
    with harness.database.write() as session:
        found = []
        for finding in inspect(session, harness.storage, harness.benchmarks):
            found.append(finding.message)
            if repair and finding.repair is not None:
                finding.repair()
                session.flush()
        return found


def _sha256(harness: ServiceHarness, submission_id: str) -> str:
    with harness.database.read() as session:
        return str(session.get_one(Submission, submission_id).file_sha256)


@pytest.fixture
def scored(harness: ServiceHarness, toy: Example) -> str:
    sent = harness.accept(npy(toy.scores()))
    assert harness.evaluator.evaluate_next()
    assert _findings(harness) == []
    return sent


def test_wrong_reference_count_is_repaired(harness: ServiceHarness, scored: str) -> None:
    with harness.database.write() as session:
        session.execute(update(File).values(references=5))
    assert _findings(harness, repair=True) == [
        f"file {_sha256(harness, scored)} has a reference count of 5 instead of 1"
    ]
    assert _findings(harness) == []


def test_unreferenced_file_is_deleted_with_its_row(harness: ServiceHarness, scored: str) -> None:
    sha256 = _sha256(harness, scored)
    with harness.database.write() as session:
        session.execute(update(Submission).values(file_sha256=None))
    assert _findings(harness, repair=True)[:2] == [
        f"no submission refers to file {sha256}",
        f"the stored file {sha256} has no database row",
    ]
    assert harness.files() == 0
    assert _findings(harness) == []


def test_stray_files_and_parts_are_deleted(harness: ServiceHarness, scored: str) -> None:
    stray = harness.storage.path("ab" * 32)
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"stray")
    part = harness.storage.part_path("nobody", 0)
    part.parent.mkdir(parents=True)
    part.write_bytes(b"part")
    assert _findings(harness, repair=True) == [
        f"the stored file {'ab' * 32} has no database row",
        "upload parts of the ended upload nobody are still stored",
    ]
    assert not stray.exists()
    assert not part.exists()
    assert harness.storage.path(_sha256(harness, scored)).exists()


@pytest.mark.parametrize("damage", ["gone", "cut short"])
def test_queued_submission_with_a_lost_file_fails_and_a_scored_one_stays(
    harness: ServiceHarness, toy: Example, scored: str, damage: str
) -> None:
    waiting = harness.accept(npy(toy.scores(seed=1)))
    for submission_id in (scored, waiting):
        path = harness.storage.path(_sha256(harness, submission_id))
        path.unlink() if damage == "gone" else path.write_bytes(b"short")
    assert _findings(harness, repair=True) == [
        f"the file of submission {scored} is lost: the results stay, but the submission cannot be scored again",
        f"the file of submission {waiting} is lost, and the submission is queued",
    ]
    assert harness.state(waiting) == State.FAILED
    assert harness.state(scored) == State.SCORED
    assert not harness.evaluator.evaluate_next()


def test_queued_submission_without_an_evaluation_gets_one(harness: ServiceHarness, toy: Example) -> None:
    waiting = harness.accept(npy(toy.scores()))
    with harness.database.write() as session:
        session.execute(delete(Evaluation))
    assert _findings(harness, repair=True) == [f"submission {waiting} is queued, but has no unfinished evaluation"]
    assert harness.evaluator.evaluate_next()
    assert harness.state(waiting) == State.SCORED


def test_missing_ranks_and_measurements_are_found(harness: ServiceHarness, scored: str) -> None:
    with harness.database.write() as session:
        session.execute(update(Evaluation).values(rank_low=None, rank_high=None))
    assert _findings(harness, repair=True) == ["toy version 1 has entries without a current rank"]
    assert _findings(harness) == []
    with harness.database.write() as session:
        session.execute(delete(Measurement))
    assert _findings(harness) == [f"submission {scored} is scored, but has no results"]


def test_damaged_benchmark_is_reported(harness: ServiceHarness, scored: str) -> None:
    assert harness.state(scored) == State.SCORED
    (harness.benchmarks / "toy" / "1" / "public" / "margins.npy").write_bytes(b"")
    (finding,) = _findings(harness)
    assert finding.startswith("toy version 1 cannot be read: ")


@pytest.mark.server
def test_doctor_repairs_only_while_no_server_runs(tmp_path: Path, toy: Example) -> None:
    with Service(tmp_path) as service:
        service.publish(toy.folder)
        service.submit_and_score(service.token("ann"), "toy", npy(toy.scores()))
        agreed = run_in_process(service, "doctor")
        assert (agreed.exit_code, agreed.stdout) == (0, "Database rows and files agree.\n")
        with service.database.write() as session:
            session.execute(update(File).values(references=2))
            sha256 = session.scalars(select(File.sha256)).one()
        what = f"file {sha256} has a reference count of 2 instead of 1"
        found = service.run("doctor")
        assert (found.returncode, found.stdout) == (1, f"{what}\n")
        refused = run_in_process(service, "doctor", "--repair")
        assert refused.exit_code == 2
        assert (
            f"uses the data folder {service.settings.data_dir}. Stop all servers and workers that use it.\n"
            in refused.stderr
        )
        service.stop()
        repaired = run_in_process(service, "doctor", "--repair")
        assert (repaired.exit_code, repaired.stdout) == (0, f"{what}: repaired\nDatabase rows and files agree.\n")
        assert run_in_process(service, "doctor").exit_code == 0


class AcceptingStorage(FolderStorage):
    """A storage that accepts another file when its files are listed for the first time."""

    harness: ServiceHarness
    content: bytes = b""

    def stored_hashes(self) -> list[str]:
        """Accept the file, then list the files."""
        content, self.content = self.content, b""
        if content:
            self.harness.accept(content)
        return super().stored_hashes()


def test_file_accepted_during_the_check_is_not_reported(harness: ServiceHarness, toy: Example) -> None:
    storage = AcceptingStorage(harness.storage.folder)
    storage.harness, storage.content = harness, npy(toy.scores())
    stray = storage.path("ab" * 32)
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"stray")
    assert find_inconsistencies(harness.database, storage, harness.benchmarks) == [
        f"the stored file {'ab' * 32} has no database row"
    ]
    assert harness.files() == 2

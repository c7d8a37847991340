"""Rows and files that do not agree are found, and mended where they can be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import delete, select, update

from app.cli.maintenance import examine
from app.db.models import Evaluation, File, Measurement, State, Submission
from app.management.consistency import inspect
from app.submissions.storage import Storage
from tests.app.commands import run_here
from tests.app.service import Service, npy

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.app.harness import Desk


def _found(desk: Desk, *, mend: bool = False) -> list[str]:
    with desk.database.write() as session:
        found = []
        for finding in inspect(session, desk.storage, desk.benchmarks):
            found.append(finding.what)
            if mend and finding.mend is not None:
                finding.mend()
                session.flush()
        return found


def _sha256(desk: Desk, submission_id: str) -> str:
    with desk.database.read() as session:
        return str(session.get_one(Submission, submission_id).file_sha256)


@pytest.fixture
def scored(desk: Desk, toy: Example) -> str:
    sent = desk.accept(npy(toy.scores()))
    assert desk.evaluator.work()
    assert _found(desk) == []
    return sent


def test_a_wrong_count_of_references_is_corrected(desk: Desk, scored: str) -> None:
    with desk.database.write() as session:
        session.execute(update(File).values(references=5))
    assert _found(desk, mend=True) == [f"1 submissions refer to the file {_sha256(desk, scored)}, which counts 5"]
    assert _found(desk) == []


def test_a_file_that_nothing_refers_to_is_deleted_with_its_row(desk: Desk, scored: str) -> None:
    sha256 = _sha256(desk, scored)
    with desk.database.write() as session:
        session.execute(update(Submission).values(file_sha256=None))
    assert _found(desk, mend=True)[:2] == [
        f"no submission refers to the file {sha256}",
        f"no row tells of the stored file {sha256}",
    ]
    assert desk.files() == 0
    assert _found(desk) == []


def test_stray_files_and_parts_are_deleted(desk: Desk, scored: str) -> None:
    stray = desk.storage.path("ab" * 32)
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"stray")
    part = desk.storage.part("nobody", 0)
    part.parent.mkdir(parents=True)
    part.write_bytes(b"part")
    assert _found(desk, mend=True) == [
        f"no row tells of the stored file {'ab' * 32}",
        "nobody waits for the parts of nobody",
    ]
    assert not stray.exists()
    assert not part.exists()
    assert desk.storage.path(_sha256(desk, scored)).exists()


@pytest.mark.parametrize("damage", ["gone", "cut short"])
def test_a_submission_whose_file_is_lost_is_given_up_unless_it_has_its_numbers(
    desk: Desk, toy: Example, scored: str, damage: str
) -> None:
    waiting = desk.accept(npy(toy.scores(seed=1)))
    for submission_id in (scored, waiting):
        path = desk.storage.path(_sha256(desk, submission_id))
        path.unlink() if damage == "gone" else path.write_bytes(b"short")
    assert _found(desk, mend=True) == [
        f"the file of {scored} is lost: it keeps its numbers, but cannot be scored again",
        f"the file of {waiting}, which is queued, is lost",
    ]
    assert desk.state(waiting) == State.FAILED
    assert desk.state(scored) == State.SCORED
    assert not desk.evaluator.work()


def test_one_that_waits_for_nothing_is_evaluated(desk: Desk, toy: Example) -> None:
    waiting = desk.accept(npy(toy.scores()))
    with desk.database.write() as session:
        session.execute(delete(Evaluation))
    assert _found(desk, mend=True) == [f"{waiting} is queued, but no evaluation waits for it"]
    assert desk.evaluator.work()
    assert desk.state(waiting) == State.SCORED


def test_numbers_and_ranks_that_are_missing_are_found(desk: Desk, scored: str) -> None:
    with desk.database.write() as session:
        session.execute(update(Evaluation).values(rank_low=None, rank_high=None))
    assert _found(desk, mend=True) == ["entries of toy version 1 have no rank"]
    assert _found(desk) == []
    with desk.database.write() as session:
        session.execute(delete(Measurement))
    assert _found(desk) == [f"{scored} is scored, but has no numbers"]


def test_a_damaged_benchmark_is_named(desk: Desk, scored: str) -> None:
    assert desk.state(scored) == State.SCORED
    (desk.benchmarks / "toy" / "1" / "public" / "margins.npy").write_bytes(b"")
    (finding,) = _found(desk)
    assert finding.startswith("toy version 1 cannot be read: ")


@pytest.mark.server
def test_the_command_mends_only_while_no_server_runs(tmp_path: Path, toy: Example) -> None:
    with Service(tmp_path) as service:
        service.publish(toy.folder)
        service.scored(service.token("ann"), "toy", npy(toy.scores()))
        agreed = run_here(service, "doctor")
        assert (agreed.exit_code, agreed.stdout) == (0, "Rows and files agree.\n")
        with service.database.write() as session:
            session.execute(update(File).values(references=2))
            sha256 = session.scalars(select(File.sha256)).one()
        what = f"1 submissions refer to the file {sha256}, which counts 2"
        found = service.run("doctor")
        assert (found.returncode, found.stdout) == (1, f"{what}\n")
        refused = run_here(service, "doctor", "--repair")
        assert refused.exit_code == 2
        assert "which another server uses" in refused.stderr
        service.stop()
        mended = run_here(service, "doctor", "--repair")
        assert (mended.exit_code, mended.stdout) == (0, f"{what}: mended\nRows and files agree.\n")
        assert run_here(service, "doctor").exit_code == 0


class Accepting(Storage):
    """Files among which one more is accepted just when they are looked through for the first time."""

    desk: Desk
    content: bytes = b""

    def names(self) -> list[str]:
        """Accept it first."""
        content, self.content = self.content, b""
        if content:
            self.desk.accept(content)
        return super().names()


def test_a_file_that_is_just_accepted_is_no_finding(desk: Desk, toy: Example) -> None:
    storage = Accepting(desk.storage.folder)
    storage.desk, storage.content = desk, npy(toy.scores())
    stray = storage.path("ab" * 32)
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"stray")
    assert examine(desk.database, storage, desk.benchmarks) == [f"no row tells of the stored file {'ab' * 32}"]
    assert desk.files() == 2

"""Retention deletes submissions and events that are older than their period, and keeps what others rely on."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sqlalchemy import func, select, update

from app.db.base import now
from app.db.models import Attribution, Evaluation, Event, Kind, Measurement, State, Submission, Visibility
from app.db.uploads import Provenance, Upload
from app.management.retention import Deleted
from app.submissions import idempotency, multipart, provenance
from app.submissions.fields import SubmissionRequest
from tests.app.aging import DAY, NOTHING, age, are_kept, practise, sweep_all
from tests.app.service import npy

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness

pytestmark = pytest.mark.database


@pytest.fixture
def files(toy: Example) -> list[bytes]:
    return [npy(toy.scores(seed=seed)) for seed in range(6)]


def test_old_practice_submissions_are_deleted_with_their_rows_and_files(
    harness: ServiceHarness, files: list[bytes]
) -> None:
    old, kept, new = (practise(harness, files[i], days) for i, days in enumerate((181, 179, 1)))
    assert harness.files() == 3
    assert sweep_all(harness).submissions == 1
    assert are_kept(harness, old, kept, new) == [False, True, True]
    assert harness.files() == 2
    with harness.database.read() as session:
        evaluated = set(session.scalars(select(Evaluation.submission_id)))
        measured = session.scalar(select(func.count()).select_from(Measurement))
    assert (evaluated, measured) == ({kept, new}, 2)
    assert sweep_all(harness) == NOTHING


def test_newest_practice_submission_of_a_group_is_kept_without_its_attributions(
    harness: ServiceHarness, toy: Example
) -> None:
    groups: list[dict[str, Any]] = [
        {"method": "a"},
        {"method": "b"},
        {"method": "a", "user": "bob"},
        {"method": "a", "provenance": {"repository": "lab/a"}},
        {"method": "a", "provenance": {"repository": "lab/b"}},
        {"method": "a", "provenance": {"repository": "lab/b", "branch": "main"}},
        {"method": "a", "provenance": {"repository": "lab/b", "branch": "main", "number": 7}},
    ]
    older, newer = (
        [practise(harness, npy(toy.scores(seed=days + i)), days, **fields) for i, fields in enumerate(groups)]
        for days in (300, 200)
    )
    deleted = sweep_all(harness)
    assert (deleted.submissions, deleted.attributions) == (len(groups), 2 * len(groups))
    assert are_kept(harness, *older, *newer) == [False] * len(groups) + [True] * len(groups)
    assert harness.count(Measurement) == len(groups)
    assert harness.count(Attribution) == 0
    assert harness.files() == len(groups)


def test_baselines_of_declared_files_and_of_other_files_are_kept(harness: ServiceHarness, files: list[bytes]) -> None:
    older, honest, declared = (practise(harness, files[i], days) for i, days in enumerate((400, 300, 200)))
    with harness.database.write() as session:
        session.get_one(Submission, declared).uses_subsets = True
    sweep_all(harness)
    assert are_kept(harness, older, honest, declared) == [False, True, True]


def test_all_pull_requests_of_a_repository_are_one_group(harness: ServiceHarness, files: list[bytes]) -> None:
    origins = [{"repository": "lab/a", "branch": branch, "number": number} for branch, number in (("x", 1), ("y", 2))]
    first, second = (practise(harness, files[i], days, provenance=origins[i]) for i, days in enumerate((300, 200)))
    sweep_all(harness)
    assert are_kept(harness, first, second) == [False, True]


def test_file_that_was_sent_again_counts_as_new(harness: ServiceHarness, files: list[bytes]) -> None:
    origins = [{"repository": "lab/a", "commit": digit * 40} for digit in "12"]
    first = practise(harness, files[0], 300, provenance=origins[0])
    second = practise(harness, files[1], 200, provenance=origins[0])
    with harness.database.write() as session:
        provenance.add_provenance(session, first, origins[1])  # as `accept` does for a repeated file
    assert sweep_all(harness).submissions == 1
    assert are_kept(harness, first, second) == [True, False]


def test_submission_is_kept_if_it_is_the_newest_of_one_of_its_repositories(
    harness: ServiceHarness, files: list[bytes]
) -> None:
    both = practise(harness, files[0], 300, provenance={"repository": "lab/a"})
    with harness.database.write() as session:
        session.add(Provenance(submission_id=both, repository="lab/b", at=now() - 299 * DAY))
    newer = practise(harness, files[1], 200, provenance={"repository": "lab/a"})
    sweep_all(harness)
    assert are_kept(harness, both, newer) == [True, True]


def test_practice_submission_with_a_pending_rescoring_is_kept(harness: ServiceHarness, files: list[bytes]) -> None:
    old, new = (practise(harness, files[i], days) for i, days in enumerate((300, 200)))
    with harness.database.write() as session:
        version_id = session.get_one(Submission, old).version_id
        session.add(Evaluation(submission_id=old, version_id=version_id, scorer_version=99))
    assert sweep_all(harness).submissions == 0
    with harness.database.write() as session:
        session.execute(update(Evaluation).where(Evaluation.scorer_version == 99).values(scored_at=now()))
    assert sweep_all(harness).submissions == 1
    assert are_kept(harness, old, new) == [False, True]


def test_ranked_submissions_keep_numbers_psi_and_file_for_ever(harness: ServiceHarness, files: list[bytes]) -> None:
    sent = [
        harness.accept(content, visibility=visibility)
        for content, visibility in zip(files, (*Visibility, Visibility.PUBLIC), strict=False)
    ]
    while harness.evaluator.evaluate_next():
        pass
    with harness.database.read() as session:
        psi = session.execute(select(Measurement.evaluation_id, Measurement.part, Measurement.influence)).all()
    assert len(psi) == 2 * len(sent)
    board = harness.leaderboard()
    age(harness, 4000, *sent)
    deleted = sweep_all(harness)
    # Only the private submission loses its attributions. The replaced public submission has a page that others may have linked.
    assert (deleted.submissions, deleted.attributions) == (0, 1)
    assert all(are_kept(harness, *sent))
    assert harness.files() == len(sent)
    with harness.database.read() as session:
        kept = session.execute(select(Measurement.evaluation_id, Measurement.part, Measurement.influence)).all()
        shown = set(session.scalars(select(Evaluation.submission_id).join(Attribution)).unique())
    assert sorted(kept) == sorted(psi)
    assert len(shown) == len(sent) - 1
    assert harness.leaderboard() == board


def test_submissions_without_a_result_are_deleted_unless_they_count_as_attempts(
    harness: ServiceHarness, toy: Example, files: list[bytes]
) -> None:
    spoiled = toy.scores()
    spoiled[0, 0] = np.nan
    sent = {}
    for kind in Kind:
        sent[kind, State.EXPIRED] = harness.reserve(10, kind=kind)
        harness.move(sent[kind, State.EXPIRED], State.UPLOADING, State.EXPIRED)
        sent[kind, State.REJECTED] = harness.accept(npy(spoiled), kind=kind)
        sent[kind, State.WITHDRAWN] = harness.accept(files[0], kind=kind)
        with harness.database.write() as session:
            harness.withdraw(session, sent[kind, State.WITHDRAWN])
        while harness.evaluator.evaluate_next():
            pass
        sent[kind, State.FAILED] = harness.accept(files[1], kind=kind)
        with harness.database.write() as session:
            failed = update(Submission).where(Submission.id == sent[kind, State.FAILED])
            session.execute(failed.values(state=State.FAILED, error={"code": "internal.failed"}))
    assert [harness.state(submission_id) for submission_id in sent.values()] == [state for _, state in sent]
    age(harness, 89, *sent.values())
    assert sweep_all(harness) == NOTHING
    age(harness, 91, *sent.values())
    sweep_all(harness)
    kept = {key for key, submission_id in sent.items() if are_kept(harness, submission_id) == [True]}
    assert kept == {(Kind.RANKED, State.REJECTED), (Kind.RANKED, State.WITHDRAWN)}
    assert not harness.storage.path(sha256(files[1]).hexdigest()).exists()
    assert harness.count(Event) == 0


def test_submission_without_a_result_is_as_old_as_its_last_event(harness: ServiceHarness) -> None:
    sent = harness.reserve(10)
    age(harness, 91, sent)
    harness.move(sent, State.UPLOADING, State.EXPIRED)
    assert sweep_all(harness) == Deleted(1, 0, 0, 0)
    assert are_kept(harness, sent) == [True]


def test_events_of_a_kept_submission_are_deleted(harness: ServiceHarness, files: list[bytes]) -> None:
    sent = harness.accept(files[0])
    assert harness.evaluator.evaluate_next()
    count = harness.count(Event)
    age(harness, 89, sent)
    assert sweep_all(harness).events == 0
    age(harness, 91, sent)
    assert sweep_all(harness).events == count
    assert harness.leaderboard()[2] == {sent}


def test_idempotency_key_and_duplicate_search_forget_a_deleted_submission(
    harness: ServiceHarness, files: list[bytes]
) -> None:
    old, new = (practise(harness, files[i], days) for i, days in enumerate((300, 200)))
    key = idempotency.Key(1, "PUT /benchmarks/toy/submissions", "build-1")
    request = SubmissionRequest(benchmark="toy", method="ours", kind=Kind.PRACTICE, size=len(files[0]))
    with harness.database.write() as session:
        idempotency.store_key(session, key, session.get_one(Submission, old))
    sweep_all(harness)
    assert are_kept(harness, old, new) == [False, True]
    with harness.database.write() as session:
        assert idempotency.find_by_key(session, key, request) is None
    again = harness.accept(files[0], kind=Kind.PRACTICE)
    assert harness.state(again) == State.QUEUED
    assert harness.evaluator.evaluate_next()
    assert harness.state(again) == State.SCORED


def test_upload_of_a_deleted_submission_shows_as_expired(harness: ServiceHarness, files: list[bytes]) -> None:
    old, _new = (practise(harness, files[i], days) for i, days in enumerate((300, 200)))
    repeated = harness.reserve(len(files[0]), kind=Kind.PRACTICE)
    with harness.database.write() as session:
        multipart.open_upload(session, session.get_one(Submission, repeated), "0" * 64, 1, DAY)
        session.get_one(Upload, repeated).stands_for = old
    harness.move(repeated, State.UPLOADING, State.EXPIRED)
    sweep_all(harness)
    assert are_kept(harness, old, repeated) == [False, True]
    with harness.database.read() as session:
        upload = session.get_one(Upload, repeated)
        assert (upload.stands_for, multipart.result_id(upload)) == (None, None)


def test_file_that_another_submission_needs_is_kept(harness: ServiceHarness, files: list[bytes]) -> None:
    old, _new = (practise(harness, files[i], days) for i, days in enumerate((300, 200)))
    ranked = harness.accept(files[0])
    sweep_all(harness)
    assert are_kept(harness, old) == [False]
    assert harness.evaluator.evaluate_next()
    assert harness.state(ranked) == State.SCORED

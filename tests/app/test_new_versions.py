"""New versions of a benchmark: all entries are scored again before the version becomes current."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from app.benchmarks import catalog
from app.db.accounts import User
from app.db.models import Evaluation
from app.leaderboard.attempts import count_attempts, count_user_attempts
from app.leaderboard.views import benchmark_view, leaderboard_view
from ldsboard import ProblemError
from tests.app.benchmarks import write_benchmark
from tests.app.service import npy, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness
    from tests.app.service import Service


def _board(service: Service, name: str, **query: Any) -> dict[str, Any]:
    view: dict[str, Any] = service.client.get(f"/benchmarks/{name}/leaderboard", params=query).json()
    return view


def test_new_version_becomes_current_with_all_entries_at_once(
    service: Service, tmp_path_factory: pytest.TempPathFactory
) -> None:
    old = write_benchmark(tmp_path_factory.mktemp("old"), "moving")
    new = write_benchmark(tmp_path_factory.mktemp("new"), "moving", version=2, ranking=130)
    service.publish(old.folder)
    ann, ben = service.token("ann"), service.token("ben")
    sent = {}
    for token, method, noise in (ann, "a", 0.3), (ann, "b", 1.0), (ben, "c", 2.0):
        scores_nN = old.scores(noise)
        sent[service.submit_and_score(token, "moving", npy(scores_nN), method=method)["id"]] = scores_nN
    before = _board(service, "moving")
    practice = service.submit_and_score(ann, "moving", npy(old.scores(0.7)), method="p", kind="practice")["id"]
    service.publish(new.folder)

    seen = []

    def look() -> bool:
        seen.append(_board(service, "moving"))
        return bool(seen[-1]["version"] == 2)

    until(look, "the leaderboard of the new version")
    assert all(board == before for board in seen[:-1])
    rows = {row["id"]: row for row in seen[-1]["rows"]}
    assert rows.keys() == sent.keys()
    for submission_id, scores_nN in sent.items():
        assert rows[submission_id]["lds"] == round(new.offline(scores_nN)["ranking"].lds, 4)
        view = service.client.get(f"/submissions/{submission_id}").json()
        assert view["benchmark"] == {"name": "moving", "version": 2}
        assert view["hidden"]["lds"] == rows[submission_id]["lds"]
        assert view["hidden"]["rank"] == rows[submission_id]["rank"]
    assert [rows[i]["attempts"] for i in sent] == [2, 2, 1]
    assert _board(service, "moving", version=1)["rows"] == before["rows"]
    assert service.client.get(f"/submissions/{practice}").json()["benchmark"]["version"] == 1
    first, second, _ = sent
    assert service.client.get("/compare", params={"a": first, "b": second}).json()["benchmark"]["version"] == 2
    # Later submissions go to the new version.
    later = service.submit_and_score(ben, "moving", npy(new.scores(0.1)), method="d")
    assert later["benchmark"]["version"] == 2
    assert len(_board(service, "moving")["rows"]) == 4


def test_incompatible_version_starts_without_entries(
    service: Service, tmp_path_factory: pytest.TempPathFactory
) -> None:
    old = write_benchmark(tmp_path_factory.mktemp("old"), "growing")
    new = write_benchmark(tmp_path_factory.mktemp("new"), "growing", version=2, n=70)
    service.publish(old.folder)
    sent = service.submit_and_score(service.token("ann"), "growing", npy(old.scores()))
    service.publish(new.folder)
    assert _board(service, "growing")["version"] == 2
    assert _board(service, "growing")["rows"] == []
    assert [row["id"] for row in _board(service, "growing", version=1)["rows"]] == [sent["id"]]
    assert service.client.get(f"/submissions/{sent['id']}").json()["benchmark"]["version"] == 1


def test_submission_sent_during_preparation_is_scored_on_the_new_version(
    harness: ServiceHarness, toy: Example, tmp_path: Path
) -> None:
    first = harness.accept(npy(toy.scores(0.3)), "first")
    assert harness.evaluator.evaluate_next()
    harness.publish(write_benchmark(tmp_path / "new", version=2, ranking=130).folder)
    assert harness.leaderboard() == (1, 1, {first})
    second = harness.accept(npy(toy.scores(0.6)), "second")  # sent to version 1 and first in the queue
    assert harness.evaluator.evaluate_next()
    assert harness.leaderboard() == (1, 1, {first, second})
    assert harness.evaluator.evaluate_next()
    assert harness.leaderboard() == (1, 1, {first, second})
    assert harness.evaluator.evaluate_next()
    assert harness.leaderboard() == (2, 1, {first, second})
    assert not harness.evaluator.evaluate_next()


def test_withdrawal_during_preparation_lets_the_new_version_become_current(
    harness: ServiceHarness, toy: Example, tmp_path: Path
) -> None:
    first, second = (
        harness.accept(npy(toy.scores(noise)), method) for method, noise in (("first", 0.3), ("second", 0.6))
    )
    assert harness.evaluator.evaluate_next()
    assert harness.evaluator.evaluate_next()
    harness.publish(write_benchmark(tmp_path / "new", version=2, ranking=130).folder)
    assert harness.evaluator.evaluate_next()
    with harness.database.write() as session:
        harness.withdraw(session, second)
    assert harness.leaderboard() == (2, 1, {first})


def test_version_in_preparation_is_not_found_and_not_overtaken(
    harness: ServiceHarness, toy: Example, tmp_path: Path
) -> None:
    sent = harness.accept(npy(toy.scores()), "only")
    assert harness.evaluator.evaluate_next()
    harness.publish(write_benchmark(tmp_path / "new", version=3, ranking=130).folder)
    with harness.database.read() as session:
        with pytest.raises(ProblemError, match="There is no such benchmark"):
            catalog.find_version(session, "toy", 3)
        assert benchmark_view(session, catalog.find_version(session, "toy")).versions == [1]
    harness.publish(write_benchmark(tmp_path / "late", version=2, ranking=130).folder)  # does not overtake
    assert harness.evaluator.evaluate_next()
    assert not harness.evaluator.evaluate_next()
    assert harness.leaderboard() == (3, 1, {sent})


def test_late_submission_to_a_replaced_version_is_scored_on_the_new_version(
    harness: ServiceHarness, toy: Example, tmp_path: Path
) -> None:
    first = harness.accept(npy(toy.scores(0.3)), "first")
    assert harness.evaluator.evaluate_next()
    harness.publish(write_benchmark(tmp_path / "new", version=2, ranking=130).folder)
    late = harness.accept(npy(toy.scores(0.6)), "late")
    with harness.database.write() as session:  # as if another worker were still scoring it
        evaluation = session.scalars(select(Evaluation).where(Evaluation.submission_id == late)).one()
        evaluation.claimed_at = evaluation.created_at
    assert harness.evaluator.evaluate_next()
    assert harness.leaderboard() == (2, 1, {first})
    with harness.database.write() as session:
        session.get_one(Evaluation, evaluation.id).claimed_at = None
    while harness.evaluator.evaluate_next():
        pass
    assert harness.leaderboard() == (2, 1, {first, late})


def test_withdrawn_and_rejected_submissions_count_as_attempts_on_compatible_versions(
    harness: ServiceHarness, toy: Example, tmp_path: Path
) -> None:
    spoiled_nN = toy.scores(0.5)
    spoiled_nN[0, 0] = float("nan")
    contents = [npy(toy.scores(0.3)), npy(toy.scores(0.6)), npy(toy.scores(0.9)), npy(spoiled_nN)]
    before, after, _, _ = (harness.accept(content, f"m{i}") for i, content in enumerate(contents))
    while harness.evaluator.evaluate_next():
        pass
    with harness.database.write() as session:
        harness.withdraw(session, before)
    harness.publish(write_benchmark(tmp_path / "new", version=2, ranking=130).folder)
    while harness.evaluator.evaluate_next():
        pass

    def attempts() -> list[int | None]:
        with harness.database.read() as session:
            return [
                row.attempts
                for number in (1, 2)
                for row in leaderboard_view(session, catalog.find_version(session, "toy", number)).rows
            ]

    assert attempts() == [4, 4, 4, 4]
    with harness.database.read() as session:
        for number in (1, 2):
            version = catalog.find_version(session, "toy", number)
            counted = {user: count_user_attempts(session, version, user) for user in session.scalars(select(User.id))}
            assert {user: made for user, made in counted.items() if made} == count_attempts(session, version).by_user
    with harness.database.write() as session:
        harness.withdraw(session, after)
    assert attempts() == [4, 4]


def test_attempts_on_an_incompatible_version_do_not_count(
    harness: ServiceHarness, toy: Example, tmp_path: Path
) -> None:
    harness.accept(npy(toy.scores()))
    assert harness.evaluator.evaluate_next()
    other = write_benchmark(tmp_path / "new", version=2, n=70)
    harness.publish(other.folder)
    harness.accept(npy(other.scores()))
    assert harness.evaluator.evaluate_next()
    with harness.database.read() as session:
        assert [row.attempts for row in leaderboard_view(session, catalog.find_version(session, "toy")).rows] == [1]

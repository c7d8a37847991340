"""Boards change as a whole: to a new version of a benchmark, and to a new scorer; nobody ever sees a mixture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import delete, select

from app.benchmarks import catalog
from app.db.accounts import User
from app.db.models import Benchmark, Evaluation, Measurement, State, Submission, Version
from app.leaderboard.attempts import count_attempts, count_user_attempts
from app.leaderboard.views import benchmark_view, leaderboard_view
from app.results import current_evaluation
from app.scoring import queue, rescoring
from app.submissions import lifecycle
from ldsboard import ProblemError, result
from tests.app.benchmarks import publish, write_benchmark
from tests.app.service import npy, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.app.harness import Desk
    from tests.app.service import Service


def _board(service: Service, name: str, **query: Any) -> dict[str, Any]:
    view: dict[str, Any] = service.client.get(f"/benchmarks/{name}/leaderboard", params=query).json()
    return view


def test_a_new_version_shows_all_entries_or_none(service: Service, tmp_path_factory: pytest.TempPathFactory) -> None:
    old = write_benchmark(tmp_path_factory.mktemp("old"), "moving")
    new = write_benchmark(tmp_path_factory.mktemp("new"), "moving", version=2, ranking=130)
    service.publish(old.folder)
    ann, ben = service.token("ann"), service.token("ben")
    sent = {}
    for token, method, noise in (ann, "a", 0.3), (ann, "b", 1.0), (ben, "c", 2.0):
        scores_nN = old.scores(noise)
        sent[service.scored(token, "moving", npy(scores_nN), method=method)["id"]] = scores_nN
    before = _board(service, "moving")
    practice = service.scored(ann, "moving", npy(old.scores(0.7)), method="p", kind="practice")["id"]
    service.publish(new.folder)

    seen = []

    def look() -> bool:
        seen.append(_board(service, "moving"))
        return bool(seen[-1]["version"] == 2)

    until(look, "the board of the new version")
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
    # What comes now is for the new version.
    later = service.scored(ben, "moving", npy(new.scores(0.1)), method="d")
    assert later["benchmark"]["version"] == 2
    assert len(_board(service, "moving")["rows"]) == 4


def test_an_incompatible_version_starts_empty(service: Service, tmp_path_factory: pytest.TempPathFactory) -> None:
    old = write_benchmark(tmp_path_factory.mktemp("old"), "growing")
    new = write_benchmark(tmp_path_factory.mktemp("new"), "growing", version=2, n=70)
    service.publish(old.folder)
    sent = service.scored(service.token("ann"), "growing", npy(old.scores()))
    service.publish(new.folder)
    assert _board(service, "growing")["version"] == 2
    assert _board(service, "growing")["rows"] == []
    assert [row["id"] for row in _board(service, "growing", version=1)["rows"]] == [sent["id"]]
    assert service.client.get(f"/submissions/{sent['id']}").json()["benchmark"]["version"] == 1


def _publish(desk: Desk, folder: Path) -> None:
    publish(desk.database, desk.benchmarks, folder)


def _shown(desk: Desk) -> tuple[int, int, set[str]]:
    """Return version, scorer and entries of the board that everybody sees."""
    with desk.database.read() as session:
        version = catalog.find_version(session, "toy")
        rows = leaderboard_view(session, version).rows
        return version.version, version.scorer_version, {row.id for row in rows}


def test_what_comes_while_a_version_is_made_ready_goes_with_it(desk: Desk, toy: Example, tmp_path: Path) -> None:
    first = desk.accept(npy(toy.scores(0.3)), "first")
    assert desk.evaluator.work()
    _publish(desk, write_benchmark(tmp_path / "new", version=2, ranking=130).folder)
    assert _shown(desk) == (1, 1, {first})
    second = desk.accept(npy(toy.scores(0.6)), "second")  # is before the rest in the queue, and sent to version 1
    assert desk.evaluator.work()
    assert _shown(desk) == (1, 1, {first, second})
    assert desk.evaluator.work()
    assert _shown(desk) == (1, 1, {first, second})
    assert desk.evaluator.work()
    assert _shown(desk) == (2, 1, {first, second})
    assert not desk.evaluator.work()


def test_one_withdrawn_meanwhile_holds_nothing_up(desk: Desk, toy: Example, tmp_path: Path) -> None:
    first, second = (desk.accept(npy(toy.scores(noise)), method) for method, noise in (("first", 0.3), ("second", 0.6)))
    assert desk.evaluator.work()
    assert desk.evaluator.work()
    _publish(desk, write_benchmark(tmp_path / "new", version=2, ranking=130).folder)
    assert desk.evaluator.work()
    with desk.database.write() as session:
        desk.withdraw(session, second)
    assert _shown(desk) == (2, 1, {first})


def test_a_new_scorer_shows_its_numbers_when_all_are_there(
    desk: Desk, toy: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [desk.accept(npy(toy.scores(noise)), f"m-{noise}") for noise in (0.3, 0.6)]
    while desk.evaluator.work():
        pass
    with desk.database.write() as session:  # so that it can be told which numbers are shown
        for measurement in session.scalars(select(Measurement)):
            measurement.mean_p = 0.125
    monkeypatch.setattr(result, "SCORER_VERSION", 2)
    with desk.database.write() as session:
        assert rescoring.requeue_outdated(session) == 2
    assert desk.evaluator.work()
    ids.append(desk.accept(npy(toy.scores(0.9)), "m-new"))  # scored by the new one at once, listed with the others
    assert desk.evaluator.work()
    assert _shown(desk) == (1, 1, set(ids[:2]))
    assert _mean_p(desk, ids[0]) == 0.125
    assert _mean_p(desk, ids[2]) != 0.125
    assert desk.evaluator.work()
    assert _shown(desk) == (1, 2, set(ids))
    assert _mean_p(desk, ids[0]) != 0.125
    with desk.database.write() as session:
        assert rescoring.requeue_outdated(session) == 0


def _mean_p(desk: Desk, submission_id: str) -> float:
    with desk.database.read() as session:
        submission = session.get_one(Submission, submission_id)
        return current_evaluation.current_evaluation(session, submission).parts["public"].mean_p


def test_what_cannot_be_scored_again_holds_the_board_until_it_can(desk: Desk, toy: Example, tmp_path: Path) -> None:
    sent = desk.accept(npy(toy.scores()), "only")
    assert desk.evaluator.work()
    with desk.database.read() as session:
        path = desk.storage.path(str(session.get_one(Submission, sent).file_sha256))
    away = path.rename(path.with_name("away"))
    _publish(desk, write_benchmark(tmp_path / "new", version=2, ranking=130).folder)
    while desk.evaluator.work():
        pass
    assert _shown(desk) == (1, 1, {sent})
    assert desk.state(sent) == State.SCORED
    away.rename(path)
    with desk.database.write() as session:
        assert rescoring.requeue_outdated(session) == 1
    assert desk.evaluator.work()
    assert _shown(desk) == (2, 1, {sent})


def test_an_evaluation_that_failed_waits_longer_each_time(desk: Desk, toy: Example) -> None:
    desk.evaluator._retry_seconds = 100
    sent = desk.accept(npy(toy.scores()), "m")
    with desk.database.read() as session:
        desk.storage.delete(str(session.get_one(Submission, sent).file_sha256))
    assert desk.evaluator.work()
    assert not desk.evaluator.work()
    waits = []
    for _ in range(2):
        with desk.database.write() as session:
            evaluation = session.scalars(select(Evaluation)).one()
            assert evaluation.not_before is not None
            waits.append(evaluation.not_before)
            evaluation.not_before = None
        assert desk.evaluator.work()
    with desk.database.read() as session:
        evaluation = session.scalars(select(Evaluation)).one()
        assert evaluation.not_before is not None
        waits.append(evaluation.not_before)
    assert (waits[1] - waits[0]).total_seconds() == pytest.approx(300, abs=20)
    assert (waits[2] - waits[1]).total_seconds() == pytest.approx(1200, abs=20)


def test_the_command_says_what_waits(service: Service) -> None:
    service.idle()
    assert service.run("rescore").stdout == "Every board is as the present scorer makes it.\n"
    with service.database.read() as session:
        assert session.scalars(select(Benchmark.next_version).where(Benchmark.next_version.is_not(None))).all() == []
        assert set(session.scalars(select(Version.scorer_version))) == {result.SCORER_VERSION}


def test_one_withdrawn_while_it_is_scored_again_leaves_nothing_behind(
    desk: Desk, toy: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = desk.accept(npy(toy.scores()), "only")
    assert desk.evaluator.work()
    _publish(desk, write_benchmark(tmp_path / "new", version=2, ranking=130).folder)
    score = desk.scorer.score

    def interrupted(*arguments: Any) -> Any:
        found = score(*arguments)
        with desk.database.write() as session:
            desk.withdraw(session, sent)
        return found

    monkeypatch.setattr(desk.scorer, "score", interrupted)
    assert desk.evaluator.work()
    assert desk.state(sent) == State.WITHDRAWN
    assert desk.count(Measurement) == 0
    assert _shown(desk) == (2, 1, set())


def test_a_version_that_is_made_ready_is_not_there_yet(desk: Desk, toy: Example, tmp_path: Path) -> None:
    sent = desk.accept(npy(toy.scores()), "only")
    assert desk.evaluator.work()
    _publish(desk, write_benchmark(tmp_path / "new", version=3, ranking=130).folder)
    with desk.database.read() as session:
        with pytest.raises(ProblemError, match="There is no such benchmark"):
            catalog.find_version(session, "toy", 3)
        assert benchmark_view(session, catalog.find_version(session, "toy")).versions == [1]
    _publish(desk, write_benchmark(tmp_path / "late", version=2, ranking=130).folder)  # does not overtake
    assert desk.evaluator.work()
    assert not desk.evaluator.work()
    assert _shown(desk) == (3, 1, {sent})


def test_a_new_scorer_takes_what_waits_and_what_a_version_waits_for(
    desk: Desk, toy: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = desk.accept(npy(toy.scores(0.3)), "first")
    assert desk.evaluator.work()
    waiting = desk.accept(npy(toy.scores(0.6)), "waiting")
    _publish(desk, write_benchmark(tmp_path / "new", version=2, ranking=130).folder)
    monkeypatch.setattr(result, "SCORER_VERSION", 2)
    with desk.database.write() as session:
        rescoring.requeue_outdated(session)
    assert _shown(desk) == (1, 1, {first})
    while desk.evaluator.work():
        pass
    assert _shown(desk) == (2, 2, {first, waiting})


def test_what_was_sent_to_a_version_that_was_overtaken_goes_with_the_others(
    desk: Desk, toy: Example, tmp_path: Path
) -> None:
    first = desk.accept(npy(toy.scores(0.3)), "first")
    assert desk.evaluator.work()
    _publish(desk, write_benchmark(tmp_path / "new", version=2, ranking=130).folder)
    late = desk.accept(npy(toy.scores(0.6)), "late")
    with desk.database.write() as session:  # as if the rest had been quicker
        evaluation = session.scalars(select(Evaluation).where(Evaluation.submission_id == late)).one()
        evaluation.claimed_at = evaluation.created_at
    assert desk.evaluator.work()
    assert _shown(desk) == (2, 1, {first})
    with desk.database.write() as session:
        session.get_one(Evaluation, evaluation.id).claimed_at = None
    while desk.evaluator.work():
        pass
    assert _shown(desk) == (2, 1, {first, late})


def test_a_result_is_written_only_to_what_it_was_taken_for(
    desk: Desk, toy: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = desk.accept(npy(toy.scores(0.3)), "first")
    score = desk.scorer.score
    others: list[str] = []

    def interrupted(*arguments: Any) -> Any:
        found = score(*arguments)
        if not others:
            with desk.database.write() as session:
                session.execute(delete(Evaluation))
                lifecycle.move(session, sent, State.SCORING, State.QUEUED)
            others.append(desk.accept(npy(-toy.scores(0.3)), "other"))
            with desk.database.write() as session:
                assert session.scalars(select(Evaluation.id)).all() == [1]  # the id of the one that is gone
                assert queue.claim(session) == 1
        return found

    monkeypatch.setattr(desk.scorer, "score", interrupted)
    desk.evaluator.work()
    assert desk.count(Measurement) == 0
    assert desk.state(others[0]) == State.SCORING


def test_what_was_withdrawn_or_rejected_stays_an_attempt_on_the_versions_that_follow(
    desk: Desk, toy: Example, tmp_path: Path
) -> None:
    spoiled_nN = toy.scores(0.5)
    spoiled_nN[0, 0] = float("nan")
    contents = [npy(toy.scores(0.3)), npy(toy.scores(0.6)), npy(toy.scores(0.9)), npy(spoiled_nN)]
    before, after, _, _ = (desk.accept(content, f"m{i}") for i, content in enumerate(contents))
    while desk.evaluator.work():
        pass
    with desk.database.write() as session:
        desk.withdraw(session, before)
    _publish(desk, write_benchmark(tmp_path / "new", version=2, ranking=130).folder)
    while desk.evaluator.work():
        pass

    def attempts() -> list[int | None]:
        with desk.database.read() as session:
            return [
                row.attempts
                for number in (1, 2)
                for row in leaderboard_view(session, catalog.find_version(session, "toy", number)).rows
            ]

    assert attempts() == [4, 4, 4, 4]
    with desk.database.read() as session:
        for number in (1, 2):
            version = catalog.find_version(session, "toy", number)
            counted = {user: count_user_attempts(session, version, user) for user in session.scalars(select(User.id))}
            assert {user: made for user, made in counted.items() if made} == count_attempts(session, version)
    with desk.database.write() as session:
        desk.withdraw(session, after)
    assert attempts() == [4, 4]


def test_attempts_on_a_version_that_is_not_compatible_do_not_count(desk: Desk, toy: Example, tmp_path: Path) -> None:
    desk.accept(npy(toy.scores()))
    assert desk.evaluator.work()
    other = write_benchmark(tmp_path / "new", version=2, n=70)
    _publish(desk, other.folder)
    desk.accept(npy(other.scores()))
    assert desk.evaluator.work()
    with desk.database.read() as session:
        assert [row.attempts for row in leaderboard_view(session, catalog.find_version(session, "toy")).rows] == [1]

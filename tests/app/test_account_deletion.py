"""Deletion of an account: what stays for others, what goes, and what happens to work that is under way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select

from app.accounts import users
from app.accounts.audit import OPERATOR, Actor
from app.benchmarks import catalog
from app.db.accounts import Audit, Scope, User
from app.db.base import Base
from app.db.models import Alias, Evaluation, Event, File, Kind, State, Submission, Visibility
from app.leaderboard.entries import list_entries
from app.leaderboard.ranking import Ranker
from app.management import account_deletion, consistency, moderation, recovery
from app.submissions import lifecycle
from ldsboard import ProblemError
from tests.app.commands import run_in_process
from tests.app.multipart_upload import MultipartUpload, stored_uploads
from tests.app.service import npy

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness
    from tests.app.service import Service

PUBLIC, PRIVATE, ANONYMOUS = Visibility.PUBLIC, Visibility.PRIVATE, Visibility.ANONYMOUS
TEXTS = {"description": "By Zora", "tags": ["zora"], "cost": {"seconds": 3.0, "device": "Zora's computer"}}
ORIGIN = {"repository": "zora/attribution", "commit": "0123abc"}


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def user_id_of(harness: ServiceHarness, name: str) -> int:
    with harness.database.read() as session:
        return users.find_user(session, name).id


def delete_account(harness: ServiceHarness, name: str = "zora", actor: Actor = OPERATOR) -> str:
    ranker = Ranker(harness.database)
    return account_deletion.delete_account(harness.database, ranker, harness.storage, user_id_of(harness, name), actor)


def _send(harness: ServiceHarness, toy: Example, method: str, noise: float, **fields: Any) -> str:
    fields = {"user": "zora", "provenance": ORIGIN} | TEXTS | fields
    return harness.accept(npy(toy.scores(noise)), method, **fields)


def _score(harness: ServiceHarness) -> None:
    while harness.evaluator.evaluate_next():
        pass


def _rows(harness: ServiceHarness, user: str | None = None) -> dict[str, Submission]:
    with harness.database.read() as session:
        query = select(Submission).join(User)
        return {row.id: row for row in session.scalars(query.where(User.name == user) if user else query)}


def _findings(harness: ServiceHarness) -> list[str]:
    with harness.database.read() as session:
        return [found.message for found in consistency.inspect(session, harness.storage, harness.benchmarks)]


def test_public_and_anonymous_results_stay_without_personal_data(harness: ServiceHarness, toy: Example) -> None:
    public = _send(harness, toy, "m", 0.2)
    anonymous = _send(harness, toy, "m", 0.3, visibility=ANONYMOUS)
    other = harness.accept(npy(toy.scores(0.9)), "rival", user="bob")
    _score(harness)
    before = harness.leaderboard()
    placeholder = delete_account(harness)
    assert placeholder == f"deleted-{_rows(harness)[public].user_id}"
    assert harness.leaderboard() == before
    assert before[2] == {public, anonymous, other}
    for row in (_rows(harness)[public], _rows(harness)[anonymous]):
        assert (row.title, row.description, row.tags, row.urls, row.method) == ("m", "", [], {}, "m")
        assert row.cost == {"seconds": 3.0}
        assert harness.storage.path(str(row.file_sha256)).exists()
    assert (_rows(harness)[other].description, _findings(harness)) == ("", [])
    with harness.database.read() as session:
        stored = [str(row) for table in Base.metadata.sorted_tables for row in session.execute(select(table))]
        assert session.scalar(select(func.count()).select_from(Alias)) == 1
    texts = ("zora", "Zora", ORIGIN["commit"])
    assert [row for row in stored if any(text in row for text in texts)] == []


def test_private_practice_and_unfinished_submissions_go_with_their_files(harness: ServiceHarness, toy: Example) -> None:
    kept = _send(harness, toy, "kept", 0.2)
    private = _send(harness, toy, "private", 0.3, visibility=PRIVATE)
    practice = _send(harness, toy, "practice", 0.4, kind=Kind.PRACTICE)
    suspended = _send(harness, toy, "suspended", 0.6)
    _score(harness)
    with harness.database.write() as session:
        moderation.suspend(session, suspended, "A copy.", "the operator", OPERATOR)
    queued = _send(harness, toy, "queued", 0.5)
    uploading = harness.reserve(1, "uploading", user="zora")
    shared = harness.accept(npy(toy.scores(0.3)), "shared", user="bob")  # the file of the private submission
    assert harness.files() == 5
    with harness.database.read() as session:
        assert account_deletion.extent(session, user_id_of(harness, "zora")) == (1, 5)
    delete_account(harness)
    remaining = _rows(harness)
    assert remaining.keys() == {kept, private, suspended, shared}
    assert not {practice, queued, uploading} & remaining.keys()
    erased = (State.WITHDRAWN, PRIVATE, account_deletion.ERASED_METHOD, None, None, None)
    for row in (remaining[private], remaining[suspended]):  # only the attempts remain
        assert (row.state, row.visibility, row.method, row.file_sha256, row.cost, row.suspension) == erased
    assert harness.files() == 2
    assert _findings(harness) == []


def test_number_of_attempts_beside_kept_entries_stays(harness: ServiceHarness, toy: Example) -> None:
    _send(harness, toy, "kept", 0.2)
    _send(harness, toy, "private", 0.3, visibility=PRIVATE)
    _send(harness, toy, "practice", 0.4, kind=Kind.PRACTICE)
    _score(harness)

    def attempts() -> list[int | None]:
        with harness.database.read() as session:
            return [entry.attempts for entry in list_entries(session, catalog.find_version(session, "toy"))]

    assert attempts() == [2]
    delete_account(harness)
    assert attempts() == [2]


@pytest.mark.parametrize("outcome", ["result", "rejected", "failed"])
def test_running_evaluation_of_a_deleted_account_saves_nothing(
    harness: ServiceHarness, toy: Example, monkeypatch: pytest.MonkeyPatch, outcome: str
) -> None:
    _send(harness, toy, "m", 0.2)
    score = harness.sandbox.score

    def delete_and_score(*arguments: Any) -> Any:
        result = score(*arguments)
        delete_account(harness)
        if outcome == "rejected":
            raise ProblemError("scores.nonfinite", "A score is NaN.", "Remove the NaN.")
        if outcome == "failed":
            raise RuntimeError
        return result

    monkeypatch.setattr(harness.sandbox, "score", delete_and_score)
    assert harness.evaluator.evaluate_next()
    assert (_rows(harness), harness.files(), harness.leaderboard()[2]) == ({}, 0, set())
    assert _findings(harness) == []
    assert not harness.evaluator.evaluate_next()


def test_evaluation_that_is_deleted_after_its_claim_is_skipped(
    harness: ServiceHarness, toy: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    _send(harness, toy, "m", 0.2)
    evaluate = harness.evaluator.evaluate

    def delete_and_evaluate(claimed: Evaluation) -> None:
        delete_account(harness)
        evaluate(claimed)

    monkeypatch.setattr(harness.evaluator, "evaluate", delete_and_evaluate)
    assert harness.evaluator.evaluate_next()
    assert not harness.evaluator.evaluate_next()


def test_file_that_arrives_after_the_deletion_is_not_stored(harness: ServiceHarness, toy: Example) -> None:
    content = npy(toy.scores())
    submission_id = harness.reserve(len(content), user="zora")
    delete_account(harness)
    with harness.storage.receive() as arrival:
        arrival.write(content)
        arrival.flush()
        with pytest.raises(ProblemError) as refused, harness.database.write() as session:
            lifecycle.accept(session, harness.storage, submission_id, arrival, harness.quotas)
    assert refused.value.problem.code == "upload.interrupted"
    assert (_rows(harness), harness.files()) == ({}, 0)


def test_crash_before_the_files_are_deleted_is_repaired_at_the_next_start(
    harness: ServiceHarness, toy: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    _send(harness, toy, "m", 0.2, kind=Kind.PRACTICE)
    monkeypatch.setattr(account_deletion, "delete_unreferenced", lambda *_: None)  # as if the process were killed
    delete_account(harness)
    assert (harness.files(), _rows(harness)) == (1, {})
    recovery.recover_at_start(harness.database, harness.storage, harness.presence)
    assert harness.files() == 0


def test_failed_deletion_changes_nothing(
    harness: ServiceHarness, toy: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = _send(harness, toy, "m", 0.2)

    def fail(*_: Any) -> None:
        raise KeyError

    monkeypatch.setattr(account_deletion, "record_action", fail)
    with pytest.raises(KeyError):
        delete_account(harness)
    assert _rows(harness, "zora").keys() == {sent}
    assert harness.files() == 1
    assert _findings(harness) == []


def test_every_table_with_rows_of_users_is_emptied_or_kept_on_purpose() -> None:
    named = {"user", "submission"}
    dependent = {
        name
        for name, table in Base.metadata.tables.items()
        if any(key.column.table.name in named for key in table.foreign_keys)
    }
    emptied = {"token", "publisher", "idempotency", "provenance", "upload", "webhook", "webhook_call", "review_link"}
    kept = {
        "identity",
        "alias",
        "submission",
        "evaluation",
        "counterfactual",
        "event",
    }  # hashed; or of the submissions that stay
    assert dependent == emptied | kept, "decide what the deletion of an account does with the new table"


def test_audit_log_names_only_the_placeholder(harness: ServiceHarness) -> None:
    with harness.database.write() as session:
        users.add_user(session, "zora")
    placeholder = delete_account(harness, actor=Actor("zora", "192.0.2.7"))
    with harness.database.read() as session:
        (row,) = session.scalars(select(Audit)).all()
    assert (row.actor, row.action, row.subject, row.detail) == (placeholder, "user.deleted", placeholder, None)


def test_account_is_deleted_once(harness: ServiceHarness) -> None:
    with harness.database.write() as session:
        user_id = users.add_user(session, "zora").id
    delete_account(harness)
    with pytest.raises(ProblemError) as refused:
        account_deletion.delete_account(harness.database, Ranker(harness.database), harness.storage, user_id, OPERATOR)
    assert refused.value.problem.code == "auth.deleted"
    with harness.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Audit)) == 1


def test_events_of_deleted_submissions_go(harness: ServiceHarness, toy: Example) -> None:
    _send(harness, toy, "m", 0.2, kind=Kind.PRACTICE)
    delete_account(harness)
    assert harness.count(Event) == 0
    with harness.database.read() as session:
        assert session.scalar(select(func.count()).select_from(File)) == 0


def test_api_deletes_the_account_and_ends_its_tokens_and_uploads(small_part_service: Service, wide: Example) -> None:
    service = small_part_service
    token = service.token("leaving")
    upload = MultipartUpload(service, token, "wide", npy(wide.scores(0.5))).started()
    assert upload.put_part(0).status_code == 200
    for confirm, scopes, status in (("another", tuple(Scope), 422), ("leaving", (Scope.SUBMIT,), 403)):
        headers = _bearer(service.token("leaving", scopes=scopes))
        refused = service.client.delete("/users/me", headers=headers, params={"confirm": confirm})
        assert refused.status_code == status
    assert service.client.delete("/users/me", headers=_bearer(token)).status_code == 422
    assert service.client.get("/users/me", headers=_bearer(token)).status_code == 200
    gone = service.client.delete("/users/me", headers=_bearer(token), params={"confirm": "leaving"})
    assert gone.status_code == 204
    for call in ("/users/me", "/tokens"):
        assert service.client.get(call, headers=_bearer(token)).json()["code"] == "auth.invalid"
    refused = upload.put_part(1)
    assert (refused.status_code, refused.json()["code"]) == (401, "auth.invalid")
    assert upload.id not in stored_uploads(service)
    assert service.client.get(f"/submissions/{upload.id}").status_code == 404


def test_operator_command_deletes_while_the_server_runs(service: Service, toy: Example) -> None:
    token = service.token("left")
    sent = service.submit_and_score(token, "toy", npy(toy.scores(0.77)), kind="practice")["id"]
    sha256 = str(service.row(sent).file_sha256)
    with service.database.read() as session:
        user_id = users.find_user(session, "left").id
    declined = run_in_process(service, "user", "delete", "left")  # no answer
    assert declined.exit_code == 1
    assert "Deleted with their files: 1 submission." in declined.stdout
    assert service.client.get("/users/me", headers=_bearer(token)).status_code == 200
    result = run_in_process(service, "user", "delete", "left", "--yes")
    assert result.stdout == f"User left is deleted. Its public results are shown under the name deleted-{user_id}.\n"
    assert service.client.get("/users/me", headers=_bearer(token)).json()["code"] == "auth.invalid"
    assert service.client.get(f"/submissions/{sent}").status_code == 404
    assert sha256 not in service.files()
    for name in ("left", f"deleted-{user_id}"):
        again = run_in_process(service, "user", "delete", name, "--yes")
        assert (again.exit_code, "There is no user" in again.stderr) == (2, True)

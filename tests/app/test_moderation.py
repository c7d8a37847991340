"""Moderation by admins: suspended submissions and banned users, by HTTP and by the operator's commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from app.accounts import tokens, users
from app.accounts.audit import OPERATOR
from app.db.accounts import Audit, Role, Scope
from app.db.models import Evaluation, State, Submission
from app.leaderboard.entries import find_listed_or_same
from app.management import moderation
from tests.app.benchmarks import write_benchmark
from tests.app.commands import run_in_process
from tests.app.multipart_upload import MultipartUpload
from tests.app.service import npy

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness
    from tests.app.service import Service

REASON = "Copied from another entry."


@pytest.fixture(scope="module")
def example(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Example:
    example = write_benchmark(tmp_path_factory.mktemp("moderated"), "moderated")
    service.publish(example.folder)
    return example


@pytest.fixture(scope="module")
def admin(service: Service) -> dict[str, str]:
    with service.database.write() as session:
        return _bearer(tokens.create(session, users.add_user(session, "moderator", role=Role.ADMIN))[1])


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _suspend(service: Service, headers: dict[str, str], submission_id: str, reason: str = REASON) -> httpx.Response:
    return service.client.put(f"/submissions/{submission_id}/suspension", headers=headers, json={"reason": reason})


def _ban(service: Service, headers: dict[str, str], name: str, reason: str = REASON) -> httpx.Response:
    return service.client.put(f"/users/{name}/ban", headers=headers, json={"reason": reason})


def _ranks(service: Service, name: str = "moderated") -> dict[str, list[int]]:
    return {row["id"]: row["rank"] for row in service.client.get(f"/benchmarks/{name}/leaderboard").json()["rows"]}


def _audited(service: Service, subject: str) -> list[tuple[str, str, Any]]:
    with service.database.read() as session:
        rows = session.scalars(select(Audit).where(Audit.subject == subject).order_by(Audit.id))
        return [(row.action, row.actor, row.detail) for row in rows]


def test_suspension_hides_an_entry_and_its_effect_on_ranks_until_it_is_lifted(
    service: Service, admin: dict[str, str], tmp_path: Path
) -> None:
    example = write_benchmark(tmp_path, "suspensions")
    service.publish(example.folder)
    owner = service.token("suspended")
    best = service.submit_and_score(owner, "suspensions", npy(example.scores(0.01)), method="best")["id"]
    second = service.submit_and_score(service.token("next"), "suspensions", npy(example.scores(1.0)), method="b")["id"]
    assert _ranks(service, "suspensions") == {best: [1, 1], second: [2, 2]}
    assert _suspend(service, admin, best).json()["suspension"]["reason"] == REASON
    assert _ranks(service, "suspensions") == {second: [1, 1]}
    assert service.client.get("/benchmarks/suspensions").json()["entries"] == 1
    refused = service.client.get(f"/submissions/{best}")
    assert (refused.status_code, refused.json()["code"]) == (404, "submission.unknown")
    shown = service.client.get(f"/submissions/{best}", headers=_bearer(owner)).json()
    assert shown["suspension"]["reason"] == REASON
    assert shown["suspension"]["contact"] == service.settings.contact
    assert shown["hidden"]["rank"] is None
    assert shown["attempts"] == 1
    assert service.client.delete(f"/submissions/{best}/suspension", headers=admin).status_code == 204
    assert _ranks(service, "suspensions") == {best: [1, 1], second: [2, 2]}
    assert service.client.get(f"/submissions/{best}").json()["suspension"] is None
    assert _audited(service, best) == [
        ("submission.suspended", "moderator", {"reason": REASON}),
        ("submission.reinstated", "moderator", None),
    ]


def test_owner_of_a_suspended_entry_can_edit_and_withdraw_it_but_not_publish_it(
    service: Service, example: Example, admin: dict[str, str]
) -> None:
    owner = _bearer(service.token("answering"))
    sent = service.submit_and_score(service.token("answering"), "moderated", npy(example.scores(2.0)), method="c")["id"]
    _suspend(service, admin, sent)
    changes = {"visibility": "public", "pinned": True, "description": "An answer."}
    edited = service.client.patch(f"/submissions/{sent}", headers=owner, json=changes)
    assert (edited.status_code, edited.json()["suspension"]["reason"]) == (200, REASON)
    assert sent not in _ranks(service)
    assert service.client.delete(f"/submissions/{sent}", headers=owner).status_code == 204


def test_entry_that_is_suspended_while_it_is_scored_is_not_listed(harness: ServiceHarness, toy: Example) -> None:
    kept, hidden = (harness.accept(npy(toy.scores(noise)), method) for noise, method in ((1.0, "k"), (0.1, "h")))
    with harness.database.write() as session:
        moderation.suspend(session, hidden, REASON, "the operator", OPERATOR)
    assert harness.evaluator.evaluate_next()
    assert harness.evaluator.evaluate_next()
    assert harness.state(hidden) == State.SCORED
    assert harness.leaderboard()[2] == {kept}
    with harness.database.read() as session:
        ranks = session.execute(select(Evaluation.submission_id, Evaluation.rank_low, Evaluation.rank_high)).all()
    assert set(ranks) == {(kept, 1, 1), (hidden, None, None)}


def test_badge_of_a_replaced_submission_never_shows_a_suspended_entry(
    service: Service, example: Example, admin: dict[str, str]
) -> None:
    token = service.token("badged")
    old, new = (
        service.submit_and_score(token, "moderated", npy(example.scores(noise)), method="d")["id"]
        for noise in (3.0, 4.0)
    )
    badge = f"{service.url}/submissions/{old}/badge.svg"
    assert service.client.get(badge).status_code == 200
    assert new in _ranks(service)
    _suspend(service, admin, new)
    assert new not in _ranks(service)
    assert old in _ranks(service)  # the newest entry of the method that is not suspended
    assert service.client.get(badge).status_code == 200
    _suspend(service, admin, old)
    assert service.client.get(badge).status_code == 404


def test_suspended_entry_stands_for_no_other_submission_before_the_board_is_ranked(
    harness: ServiceHarness, toy: Example
) -> None:
    old, new = (harness.accept(npy(toy.scores(noise)), "m") for noise in (0.2, 0.3))
    while harness.evaluator.evaluate_next():
        pass

    def shown() -> str:
        with harness.database.read() as session:
            return find_listed_or_same(session, session.get_one(Submission, old)).id

    assert shown() == new
    with harness.database.write() as session:
        moderation.suspend(session, new, REASON, "the operator", OPERATOR)
    assert shown() == old


def test_banned_user_is_refused_with_the_reason_until_the_ban_is_lifted(
    service: Service, example: Example, admin: dict[str, str]
) -> None:
    token = service.token("spammer")
    sent = service.submit_and_score(token, "moderated", npy(example.scores(5.0)), method="e")["id"]
    assert _ban(service, admin, "spammer").status_code == 204
    for call in ("/users/me", "/tokens", f"/submissions/{sent}", "/users/me/export"):
        refused = service.client.get(call, headers=_bearer(token))
        assert (refused.status_code, refused.json()["code"]) == (403, "auth.banned")
        assert f"Reason: {REASON}" in refused.json()["detail"]
        assert refused.json()["hint"] == f"To answer, write to {service.settings.contact}."
    assert service.submit(token, "moderated", npy(example.scores(5.0))).json()["code"] == "auth.banned"
    assert sent in _ranks(service)  # what is public stays public
    assert service.client.delete("/users/spammer/ban", headers=admin).status_code == 204
    assert service.client.get("/users/me", headers=_bearer(token)).status_code == 200
    assert _audited(service, "spammer") == [
        ("user.banned", "moderator", {"reason": REASON}),
        ("user.unbanned", "moderator", None),
    ]


def test_upload_token_does_not_show_a_suspended_submission(
    service: Service, admin: dict[str, str], toy: Example
) -> None:
    upload = MultipartUpload(service, service.token("sender"), "toy", npy(toy.scores(0.4)), kind="practice")
    sent = upload.submit_and_score()
    parts = f"/submissions/{upload.id}/parts"
    assert service.client.get(parts, headers=upload.authorization).status_code == 200
    _suspend(service, admin, sent["id"])
    assert service.client.get(parts, headers=upload.authorization).status_code == 404
    assert service.client.get(parts, headers=_bearer(upload.token)).status_code == 200


def test_upload_token_of_a_banned_user_is_refused(service: Service, admin: dict[str, str], toy: Example) -> None:
    upload = MultipartUpload(service, service.token("uploader"), "toy", npy(toy.scores(0.5))).started()
    _ban(service, admin, "uploader")
    refused = upload.put_part(0)
    assert (refused.status_code, refused.json()["code"]) == (403, "auth.banned")
    service.client.delete("/users/uploader/ban", headers=admin)
    assert upload.put_part(0).status_code == 200


@pytest.mark.parametrize("scopes", [[Scope.MANAGE, Scope.SUBMIT], [Scope.SUBMIT]])
def test_only_admins_with_the_scope_manage_moderate(service: Service, example: Example, scopes: list[Scope]) -> None:
    name = "admin-who-only-submits" if scopes == [Scope.SUBMIT] else "no-admin"
    with service.database.write() as session:
        role = Role.ADMIN if scopes == [Scope.SUBMIT] else Role.USER
        headers = _bearer(tokens.create(session, users.add_user(session, name, role=role), scopes=scopes)[1])
    code = "auth.scope" if scopes == [Scope.SUBMIT] else "auth.role"
    sent = service.submit_and_score(service.token("judged"), "moderated", npy(example.scores(6.0)), method="f")["id"]
    calls = [
        _suspend(service, headers, sent),
        service.client.delete(f"/submissions/{sent}/suspension", headers=headers),
        _ban(service, headers, "judged"),
        service.client.delete("/users/judged/ban", headers=headers),
    ]
    assert [(call.status_code, call.json()["code"]) for call in calls] == [(403, code)] * 4
    assert sent in _ranks(service)


def test_admins_and_unknown_users_cannot_be_banned(service: Service, admin: dict[str, str]) -> None:
    refused = _ban(service, admin, "moderator")
    assert (refused.status_code, refused.json()["code"]) == (409, "request.conflict")
    assert "python -m app user add moderator --role user" in refused.json()["hint"]
    assert service.client.get("/users/me", headers=admin).status_code == 200
    for call in (_ban(service, admin, "unknown-user"), service.client.delete("/users/unknown-user/ban", headers=admin)):
        assert (call.status_code, call.json()["code"]) == (404, "user.unknown")
    for call in (
        _suspend(service, admin, "0" * 16),
        service.client.delete(f"/submissions/{'0' * 16}/suspension", headers=admin),
    ):
        assert (call.status_code, call.json()["code"]) == (404, "submission.unknown")


@pytest.mark.parametrize("reason", ["", "   ", "two\nlines", "\u202eturned", "x" * (moderation.MAX_REASON_LENGTH + 1)])
def test_reason_is_one_line(service: Service, example: Example, admin: dict[str, str], reason: str) -> None:
    sent = service.submit_and_score(service.token("named"), "moderated", npy(example.scores(7.0)), kind="practice")[
        "id"
    ]
    for call in (_suspend(service, admin, sent, reason), _ban(service, admin, "named", reason)):
        assert (call.status_code, call.json()["code"]) == (422, "request.invalid")
    assert service.row(sent).suspension is None


def test_operator_commands_moderate_while_the_server_runs(service: Service, example: Example) -> None:
    token = service.token("noticed")
    sent = service.submit_and_score(token, "moderated", npy(example.scores(8.0)), method="g")["id"]
    result = run_in_process(service, "submission", "suspend", sent, "--reason", REASON)
    assert f" -m app submission reinstate {sent}" in result.stdout
    assert sent not in _ranks(service)
    shown = [run_in_process(service, "submission", "reinstate", sent).stdout for _ in range(2)]
    assert shown == [
        f"Submission {sent} is shown again.\n",
        f"Submission {sent} was not hidden by an admin. Nothing has changed.\n",
    ]
    assert sent in _ranks(service)
    assert "user unban noticed" in run_in_process(service, "user", "ban", "noticed", "--reason", REASON).stdout
    assert service.client.get("/users/me", headers=_bearer(token)).json()["code"] == "auth.banned"
    lifted = [run_in_process(service, "user", "unban", "noticed").stdout for _ in range(2)]
    assert lifted == ["The ban of noticed is lifted.\n", "User noticed was not banned. Nothing has changed.\n"]
    assert service.client.get("/users/me", headers=_bearer(token)).status_code == 200
    assert [action for action, actor, _ in _audited(service, sent) if actor == OPERATOR.name] == [
        "submission.suspended",
        "submission.reinstated",
        "submission.reinstated",
    ]
    for arguments in (["submission", "suspend", "none"], ["user", "ban", "unknown-user"]):
        unknown = run_in_process(service, *arguments, "--reason", REASON)
        assert unknown.exit_code == 2
        assert "There is no" in unknown.stderr

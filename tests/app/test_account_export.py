"""Export of everything that the service stores about a user: complete, rounded, without secrets and without other users."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select

from app.accounts import external_identities, tokens, users
from app.accounts.audit import OPERATOR, Action, Actor, record_action
from app.db.accounts import Audit, Scope, Token, User
from app.db.base import Base
from app.db.models import Kind, State, Submission, Version, Visibility
from app.leaderboard.disclosure import DECIMALS
from app.results import account_export
from app.results.submission_views import submission_views
from tests.app.commands import run_in_process
from tests.app.service import npy

if TYPE_CHECKING:
    from pathlib import Path

    from app.db.sessions import Database
    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness
    from tests.app.service import Service

ORIGIN = {"repository": "zora/attribution", "commit": "0123abc"}


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _export(database: Database, name: str = "zora") -> dict[str, Any]:
    with database.read() as session:
        user_id = users.find_user(session, name).id
    exported: dict[str, Any] = json.loads("".join(account_export.export_account(database, user_id)))
    return exported


def test_export_contains_every_kind_of_row_of_the_user(harness: ServiceHarness, toy: Example) -> None:
    with harness.database.write() as session:
        external_identities.find_or_add_user(session, "https://login.example.org", "248289", "zora")
        _, value = tokens.create(session, users.find_user(session, "zora"), name="laptop")
        digest = session.scalars(select(Token.digest)).one()
        record_action(session, Actor("zora", "192.0.2.7"), Action.TOKEN_CREATED, "zora", token="laptop")
    sent = harness.accept(
        npy(toy.scores(0.2)), "m", user="zora", visibility=Visibility.ANONYMOUS, provenance=ORIGIN, description="Mine."
    )
    practice = harness.accept(npy(toy.scores(0.3)), "n", user="zora", kind=Kind.PRACTICE)
    harness.accept(npy(toy.scores(0.4)), "theirs", user="bob")
    while harness.evaluator.evaluate_next():
        pass
    exported = _export(harness.database)
    parts = {"account", "identities", "tokens", "publishers", "webhooks", "aliases", "submissions", "audit"}
    assert exported.keys() == parts
    assert exported["account"].items() >= {"name": "zora", "role": "user", "ban": None}.items()
    (identity,) = exported["identities"]
    assert (identity["provider"], identity["subject"]) == ("https://login.example.org", "248289")
    (token,) = exported["tokens"]
    assert (token["name"], token["scopes"]) == ("laptop", ["manage", "submit"])
    assert exported["aliases"] == [{"benchmark": "toy", "number": 1}]
    first, second = exported["submissions"]
    assert (first["id"], second["id"]) == (sent, practice)
    assert (first["owner"], first["method"], first["description"]) == ("zora", "m", "Mine.")
    assert first["file_sha256"] == _file_of(harness, sent)
    assert [event["after"] for event in first["events"]] == ["uploading", "queued", "scoring", "scored"]
    assert first["provenances"][0].items() >= ORIGIN.items()
    assert [row["action"] for row in exported["audit"]] == ["token.created"]
    text = json.dumps(exported)
    assert [secret for secret in (value, digest, "theirs", "bob") if secret in text] == []


def _file_of(harness: ServiceHarness, submission_id: str) -> str | None:
    with harness.database.read() as session:
        return session.get_one(Submission, submission_id).file_sha256


def test_numbers_from_hidden_subsets_are_rounded(service: Service, toy: Example) -> None:
    token = service.token("exporting")
    sent = service.submit_and_score(token, "toy", npy(toy.scores(0.123)), method="rounded")
    answer = service.client.get("/users/me/export", headers=_bearer(token))
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="ldsboard-exporting.json"'
    assert answer.headers["Cache-Control"] == "no-store"
    (exported,) = answer.json()["submissions"]
    shown = service.client.get(f"/submissions/{sent['id']}", headers=_bearer(token)).json()
    assert shown["public"].pop("targets")
    assert exported["public"].pop("targets") is None  # only the view of a single submission has these fields
    assert {name: exported[name] for name in shown if name != "notice"} == {
        name: value for name, value in shown.items() if name != "notice"
    }
    measured = service.measurements(sent["id"])["ranking"]
    for name in ("lds", "std_error", "ci_low", "ci_high", "std_error_new_targets"):
        value = getattr(measured, name)
        assert f"{value:.{DECIMALS + 2}f}" not in answer.text
    assert exported["hidden"]["lds"] == round(measured.lds, DECIMALS)


def test_export_needs_the_scope_manage(service: Service) -> None:
    refused = service.client.get("/users/me/export", headers=_bearer(service.token("ci-only", scopes=[Scope.SUBMIT])))
    assert (refused.status_code, refused.json()["code"]) == (403, "auth.scope")


def test_audit_rows_name_no_other_user(harness: ServiceHarness) -> None:
    with harness.database.write() as session:
        users.add_user(session, "zora")
        admin = Actor("the-admin", "198.51.100.9")
        for actor in (Actor("zora", "192.0.2.7"), admin, OPERATOR):
            record_action(session, actor, Action.USER_CHANGED, "zora", role="user")
        record_action(session, admin, Action.USER_CHANGED, "bob")
        record_action(session, admin, Action.SUBMISSION_EDITED, "zora", fields=["title"])  # the id of a submission
        record_action(session, admin, Action.BENCHMARK_PUBLISHED, "zora")
    rows = _export(harness.database)["audit"]
    assert [(row["actor"], row["address"], row["subject"]) for row in rows] == [
        ("zora", "192.0.2.7", "zora"),
        (account_export.OTHERS, None, "zora"),
        (OPERATOR.name, None, "zora"),
    ]


def test_audit_rows_of_a_former_admin_name_no_other_user(harness: ServiceHarness) -> None:
    own, other = harness.reserve(1, user="zora"), harness.reserve(1, user="bob")
    zora, reason = Actor("zora", "192.0.2.7"), "The same person as bob."
    with harness.database.write() as session:
        record_action(session, zora, Action.USER_BANNED, "bob", reason=reason)
        record_action(session, zora, Action.SUBMISSION_SUSPENDED, other, reason=reason)
        record_action(session, zora, Action.SUBMISSION_EDITED, own, fields=["title"])
        record_action(session, zora, Action.TOKEN_CREATED, "zora", token="laptop")
    rows = _export(harness.database)["audit"]
    assert [(row["actor"], row["subject"], row["detail"]) for row in rows] == [
        ("zora", account_export.OTHERS, None),
        ("zora", account_export.OTHER_SUBMISSION, None),
        ("zora", own, {"fields": ["title"]}),
        ("zora", "zora", {"token": "laptop"}),
    ]
    assert "bob" not in json.dumps(rows)


def test_submission_rows_of_the_audit_log_are_those_of_own_submissions(harness: ServiceHarness) -> None:
    own, other = harness.reserve(1, user="zora"), harness.reserve(1, user="bob")
    with harness.database.write() as session:
        for submission_id in (own, other):
            record_action(session, OPERATOR, Action.SUBMISSION_SUSPENDED, submission_id, reason="A copy.")
    assert [row["subject"] for row in _export(harness.database)["audit"]] == [own]


@pytest.mark.parametrize("rows", [0, 1, account_export.BATCH, 2 * account_export.BATCH + 1])
def test_many_rows_are_exported_in_batches(harness: ServiceHarness, monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    with harness.database.write() as session:
        user = users.add_user(session, "zora")
        version = session.scalars(select(Version)).one()
        session.add_all(
            Submission(
                user_id=user.id, version=version, kind=Kind.PRACTICE, state=State.EXPIRED, method="m", title="", size=1
            )
            for _ in range(rows)
        )
        session.add_all(Audit(actor="zora", action="token.created", subject="zora") for _ in range(rows))
    sizes = []

    def views(session: Any, submissions: Any, *rest: Any) -> Any:
        sizes.append(len(submissions))
        return submission_views(session, submissions, *rest)

    monkeypatch.setattr("app.results.account_export.submission_views", views)
    exported = _export(harness.database)
    assert [len(exported[name]) for name in ("submissions", "audit")] == [rows, rows]
    assert len({row["id"] for row in exported["submissions"]}) == rows
    assert max(sizes, default=0) <= account_export.BATCH


def test_no_database_session_is_open_between_two_pieces(harness: ServiceHarness) -> None:
    harness.reserve(1, user="zora")
    with harness.database.read() as session:
        user_id = users.find_user(session, "zora").id
    for _ in account_export.export_account(harness.database, user_id):
        assert harness.database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_every_table_with_rows_of_users_is_exported() -> None:
    owned = {"user", "submission"}
    dependent = {
        name
        for name, table in Base.metadata.tables.items()
        if any(key.column.table.name in owned for key in table.foreign_keys)
    }
    exported = {"token", "identity", "alias", "submission", "event", "idempotency", "provenance", "upload"}
    exported |= {"publisher", "webhook", "webhook_call", "review_link"}
    as_results = {"evaluation", "counterfactual"}
    assert dependent == exported | as_results, "add the new table to the export"


def test_operator_command_writes_a_new_file(service: Service, tmp_path: Path) -> None:
    service.token("asked")
    path = tmp_path / "asked.json"
    assert run_in_process(service, "user", "export", "asked", str(path)).stdout == f"Wrote {path}.\n"
    assert json.loads(path.read_text(encoding="utf-8"))["account"]["name"] == "asked"
    again = run_in_process(service, "user", "export", "asked", str(path))
    assert (again.exit_code, "exists" in again.stderr) == (2, True)
    assert run_in_process(service, "user", "export", "unknown-user", str(tmp_path / "x")).exit_code == 2
    with service.database.read() as session:
        assert session.scalar(select(func.count()).select_from(User).where(User.name == "unknown-user")) == 0

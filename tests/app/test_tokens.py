"""Account tokens: scopes, expiry, creation, revocation, and the audit log."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from fastapi import Request
from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from app.accounts import tokens, users
from app.accounts.rate_limits import WaitLimiter
from app.api.submissions import show_submission
from app.db.accounts import Audit, Scope, Token
from app.db.base import now
from app.db.models import Visibility
from ldsboard import ProblemError
from tests.app.event_loop import run_in_loop
from tests.app.service import PATIENCE_SECONDS, npy

if TYPE_CHECKING:
    from collections.abc import Iterable

    import httpx

    from app.context import AppContext
    from app.db.sessions import Database
    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness
    from tests.app.service import Service


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _token(service: Service, user: str, *scopes: Scope, **options: Any) -> str:
    with service.database.write() as session:
        return tokens.create(session, users.add_user(session, user), scopes=scopes, **options)[1]


def _create(
    service: Service, token: str, name: str, scopes: Iterable[str] = ("submit",), **more: Any
) -> httpx.Response:
    return service.client.post("/tokens", headers=_bearer(token), json={"name": name, "scopes": [*scopes]} | more)


def test_current_user_shows_token_name_and_scopes(service: Service) -> None:
    token = _token(service, "ann", Scope.SUBMIT, name="laptop")
    view = service.client.get("/users/me", headers=_bearer(token)).json()
    assert (view["name"], view["role"]) == ("ann", "user")
    assert (view["token"]["name"], view["token"]["scopes"], view["token"]["expires_at"]) == ("laptop", ["submit"], None)
    assert token not in str(view)


def test_tokens_are_created_listed_revoked_and_audited(service: Service) -> None:
    manager = service.token("benedict")
    created = _create(service, manager, "ci", days=7)
    assert created.status_code == 201
    value, number = created.json()["token"], created.json()["id"]
    listed = service.client.get("/tokens", headers=_bearer(manager))
    assert [token["name"] for token in listed.json()][1:] == ["ci"]
    assert value not in listed.text
    assert service.client.get("/users/me", headers=_bearer(value)).status_code == 200
    assert service.client.delete(f"/tokens/{number}", headers=_bearer(manager)).status_code == 204
    refused = service.client.get("/users/me", headers=_bearer(value))
    assert (refused.status_code, refused.json()["code"]) == (401, "auth.invalid")
    with service.database.read() as session:
        rows = session.scalars(select(Audit).where(Audit.actor == "benedict").order_by(Audit.id)).all()
    assert [(row.action, row.subject, row.address) for row in rows] == [
        ("token.created", "benedict", "127.0.0.1"),
        ("token.revoked", "benedict", "127.0.0.1"),
    ]
    assert value not in str([row.detail for row in rows])
    assert value not in service.log.read_text()


def test_repeated_token_name_is_rejected_for_the_same_user(service: Service) -> None:
    manager = service.token("cleo")
    assert _create(service, manager, "ci").status_code == 201
    again = _create(service, manager, "ci")
    assert (again.status_code, again.json()["code"]) == (409, "request.conflict")
    assert _create(service, service.token("dora"), "ci").status_code == 201


def test_token_allows_only_its_scopes(service: Service, toy: Example) -> None:
    manage, submit = _token(service, "eve", Scope.MANAGE), _token(service, "eve", Scope.SUBMIT)
    sent = service.submit(manage, "toy", npy(toy.scores(0.5)), kind="practice")
    assert (sent.status_code, sent.json()["code"]) == (403, "auth.scope")
    assert sent.json()["detail"] == "This call needs the scope submit; the token has manage."
    made = _create(service, submit, "more")
    assert (made.status_code, made.json()["code"]) == (403, "auth.scope")
    assert service.client.delete("/tokens/1", headers=_bearer(submit)).status_code == 403
    # A token cannot create a token with more scopes than its own.
    assert _create(service, manage, "more").status_code == 403
    assert _create(service, manage, "same", scopes=["manage"]).status_code == 201


def test_created_token_expires_no_later_than_its_creator(service: Service) -> None:
    soon = now() + timedelta(days=1)
    manager = _token(service, "fred", *Scope, name="short", expires_at=soon)
    longer = _create(service, manager, "longer", days=tokens.MAX_DAYS).json()
    assert longer["expires_at"] == soon.isoformat().replace("+00:00", "Z")
    with service.database.write() as session:
        session.execute(update(Token).where(Token.name == "short").values(expires_at=now() - timedelta(seconds=1)))
    refused = service.client.get("/users/me", headers=_bearer(manager))
    assert (refused.status_code, refused.json()["code"]) == (401, "auth.expired")
    assert refused.headers["WWW-Authenticate"] == "Bearer"


def test_token_without_days_expires_within_a_year_even_if_its_creator_never_expires(service: Service) -> None:
    manager = _token(service, "greta", *Scope)
    made = _create(service, manager, "default").json()
    longest = _create(service, manager, "longest", days=tokens.MAX_DAYS).json()
    assert made["expires_at"] is not None
    assert made["expires_at"][:10] == longest["expires_at"][:10]


def test_revoking_a_token_of_another_user_is_not_found(service: Service) -> None:
    theirs = _create(service, service.token("gil"), "theirs").json()["id"]
    refused = service.client.delete(f"/tokens/{theirs}", headers=_bearer(service.token("hugo")))
    assert (refused.status_code, refused.json()["code"]) == (404, "token.unknown")


@pytest.mark.parametrize(
    "wanted",
    [
        {"name": "", "scopes": ["submit"]},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["everything"]},
        {"name": "x", "scopes": ["submit"], "days": 0},
        {"name": "x", "scopes": ["submit"], "days": tokens.MAX_DAYS + 1},
        {"name": "x", "scopes": ["submit"], "role": "admin"},
    ],
)
def test_invalid_token_request_is_rejected(service: Service, token: str, wanted: dict[str, Any]) -> None:
    refused = service.client.post("/tokens", headers=_bearer(token), json=wanted)
    assert (refused.status_code, refused.json()["code"]) == (422, "request.invalid")


@pytest.mark.parametrize(
    ("change", "days", "message"),
    [
        (update(Audit).values(actor="nobody"), 0, "the audit log only grows"),
        (update(Audit).values(at=now() - timedelta(days=1000)), 1000, "the audit log only grows"),
        (delete(Audit), 0, "the audit log keeps every row for 365 days"),
        (delete(Audit), 364.9, "the audit log keeps every row for 365 days"),
    ],
)
def test_audit_rows_cannot_be_changed_or_deleted_for_a_year(
    database: Database, change: Any, days: float, message: str
) -> None:
    with database.write() as session:
        session.add(Audit(at=now() - timedelta(days=days), actor="ann", action="token.created", subject="ann"))
    with pytest.raises(IntegrityError, match=message), database.write() as session:
        session.execute(change)


def test_unauthenticated_request_opens_no_write_transaction(service: Service) -> None:
    with service.database.write():  # holds the only write lock of SQLite
        refused = service.client.post("/tokens", json={"name": "x", "scopes": ["submit"]})
    assert refused.status_code == 401


def test_operator_commands_create_list_and_revoke_tokens(service: Service) -> None:
    assert service.run("user", "add", "ida", "--role", "admin").returncode == 0
    created = service.run("token", "create", "ida", "--label", "ops", "--scope", "manage", "--days", "30")
    token = created.stdout.strip()
    assert service.client.get("/users/me", headers=_bearer(token)).json()["role"] == "admin"
    listed = service.run("token", "list", "ida").stdout
    assert listed.startswith("ops: manage; created ")
    assert "expires" in listed
    assert service.run("token", "revoke", "ida", "ops").stdout == "The token ops of ida is revoked.\n"
    assert service.client.get("/users/me", headers=_bearer(token)).status_code == 401
    again = service.run("token", "revoke", "ida", "ops")
    assert again.returncode == 2
    assert "You have no token 'ops'" in again.stderr


@pytest.mark.parametrize("number", [str(10**30), "-1", "0", "one"])
def test_invalid_token_id_is_rejected(service: Service, token: str, number: str) -> None:
    refused = service.client.delete(f"/tokens/{number}", headers=_bearer(token))
    assert (refused.status_code, refused.json()["code"]) == (422, "request.invalid")


def test_long_poll_is_rejected_after_its_token_was_revoked(harness: ServiceHarness) -> None:
    submission_id = harness.reserve(1, visibility=Visibility.PRIVATE)
    with harness.database.write() as session:
        user = users.find_user(session, "alice")
        _, value = tokens.create(session, user, name="watching")
        viewer = users.authenticate(session, f"Bearer {value}")
    context = cast(
        "AppContext",
        SimpleNamespace(
            database=harness.database,
            sandbox=harness.sandbox,
            settings=SimpleNamespace(workers_score=False),
            wait_limiter=WaitLimiter(),
        ),
    )
    request = Request({"type": "http", "headers": [(b"authorization", f"Bearer {value}".encode())]})
    shown = run_in_loop(show_submission(request, context, viewer, submission_id, wait=0.2))
    assert shown.state == "uploading"
    with harness.database.write() as session:
        tokens.revoke(session, viewer.id, name="watching")
    # The token was valid when the call began.
    with pytest.raises(ProblemError) as refused:
        run_in_loop(show_submission(request, context, viewer, submission_id, wait=PATIENCE_SECONDS))
    assert refused.value.problem.code == "auth.invalid"


def test_token_that_was_revoked_during_its_call_is_invalid(harness: ServiceHarness) -> None:
    harness.reserve(1)
    with harness.database.write() as session:
        tokens.create(session, users.find_user(session, "alice"), name="short")
        revoked = tokens.revoke(session, users.find_user(session, "alice").id, name="short")
        session.flush()
        with pytest.raises(ProblemError) as refused:
            tokens.find_token(session, revoked.id)
    assert refused.value.problem.code == "auth.invalid"

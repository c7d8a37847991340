"""The calls of the API for webhooks: registration, list and removal, with scopes, quotas and the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from app.accounts import users, webhooks
from app.accounts.audit import Actor
from app.accounts.daily_quotas import DailyQuotas
from app.db.accounts import Audit, Scope
from app.db.models import State
from app.db.webhooks import Webhook, WebhookCall
from app.errors import QuotaError
from app.feedback import registration
from app.feedback.addresses import Addresses
from app.feedback.schemas import webhook_views
from ldsboard import ProblemError
from tests.app.feedback.hooks import ADDRESS, calls
from tests.app.feedback.receiver import Receiver
from tests.app.service import npy, until

if TYPE_CHECKING:
    import httpx

    from tests.app.benchmarks import Example
    from tests.app.harness import ServiceHarness
    from tests.app.service import Service


def _call(service: Service, token: str, method: str, path: str = "", **options: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return service.client.request(method, f"/webhooks{path}", headers=headers, **options)


def test_webhook_is_registered_listed_and_removed(service: Service) -> None:
    token = service.token("hooked")
    created = _call(service, token, "POST", json={"url": ADDRESS})
    assert created.status_code == 201, created.text
    new = created.json()
    assert new["secret"].startswith(webhooks.SECRET_PREFIX)
    (listed,) = _call(service, token, "GET").json()
    assert listed == {name: value for name, value in new.items() if name != "secret"}
    assert listed["url"] == ADDRESS
    assert (listed["disabled_at"], listed["calls"]) == (None, [])
    stranger = service.token("stranger")
    assert _call(service, stranger, "GET").json() == []
    refused = _call(service, stranger, "DELETE", f"/{new['id']}")
    assert (refused.status_code, refused.json()["code"]) == (404, "webhook.unknown")
    assert _call(service, token, "DELETE", f"/{new['id']}").status_code == 204
    assert _call(service, token, "GET").json() == []
    with service.database.read() as session:
        rows = session.scalars(select(Audit).where(Audit.actor == "hooked")).all()
    assert [(row.action, row.subject, row.detail) for row in rows] == [
        ("webhook.created", "hooked", {"webhook": new["id"]}),
        ("webhook.removed", "hooked", {"webhook": new["id"]}),
    ]
    assert new["secret"] not in service.log.read_text()


def test_webhooks_need_the_scope_manage(service: Service) -> None:
    token = service.token("hooked-by-ci", scopes=[Scope.SUBMIT])
    for method, path in (("GET", ""), ("POST", ""), ("DELETE", "/1")):
        body = {"url": ADDRESS} if method == "POST" else None
        refused = _call(service, token, method, path, json=body)
        assert (refused.status_code, refused.json()["code"]) == (403, "auth.scope")
        assert service.client.request(method, f"/webhooks{path}", json=body).status_code == 401


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"url": "http://hooks.example.org/"}, "webhook.address"),
        ({"url": "https://169.254.169.254/latest/meta-data"}, "webhook.address"),
        ({"url": "https://xn--a/"}, "webhook.address"),
        ({"url": ""}, "request.invalid"),
        ({"url": "https://hooks.example.org/" + "x" * 500}, "request.invalid"),
        ({"url": ADDRESS, "secret": "mine"}, "request.invalid"),
        ({}, "request.invalid"),
    ],
)
def test_other_bodies_are_refused_and_nothing_is_stored(service: Service, body: dict[str, str], code: str) -> None:
    token = service.token("wrong-hooks")
    refused = _call(service, token, "POST", json=body)
    assert (refused.status_code, refused.json()["code"]) == (422, code)
    assert _call(service, token, "POST", params={"dry_run": "true"}, json={"url": ADDRESS}).status_code == 422
    assert _call(service, token, "GET").json() == []


def test_same_address_is_refused_and_the_number_of_webhooks_is_bounded(service: Service) -> None:
    token, limit = service.token("many-hooks"), service.settings.webhooks_per_user
    for number in range(limit):
        assert _call(service, token, "POST", json={"url": f"{ADDRESS}/{number}"}).status_code == 201
    again = _call(service, token, "POST", json={"url": f"{ADDRESS}/0"})
    assert (again.status_code, again.json()["code"]) == (409, "request.conflict")
    refused = _call(service, token, "POST", json={"url": f"{ADDRESS}/new"})
    assert (refused.status_code, refused.json()["code"]) == (429, "quota.webhooks")
    assert refused.json()["detail"] == f"The quota is {limit} webhooks, and you have {limit}."
    first = _call(service, token, "GET").json()[0]["id"]
    assert _call(service, token, "DELETE", f"/{first}").status_code == 204
    assert _call(service, token, "POST", json={"url": f"{ADDRESS}/new"}).status_code == 201


def test_server_without_webhooks_registers_none(harness: ServiceHarness) -> None:
    with harness.database.write() as session, pytest.raises(ProblemError, match="This server calls no webhooks"):
        webhooks.register(session, users.add_user(session, "ann").id, ADDRESS, limit=0)


def test_daily_quota_bounds_registrations_and_a_removal_renews_nothing(harness: ServiceHarness) -> None:
    quotas, addresses = DailyQuotas(webhooks=2), Addresses(frozenset())
    with harness.database.write() as session:
        user = users.add_user(session, "ann")
        actor = Actor(user.name, "192.0.2.7")
        for _ in range(2):
            webhook = registration.register(session, user.id, actor, ADDRESS, addresses, 5, quotas)
            registration.remove(session, user.id, actor, webhook.id)
        with pytest.raises(QuotaError, match="2 new webhooks in 24 hours"):
            registration.register(session, user.id, actor, ADDRESS, addresses, 5, quotas)


def test_secrets_differ_and_are_long(harness: ServiceHarness) -> None:
    with harness.database.write() as session:
        user = users.add_user(session, "ann")
        secrets = {webhooks.register(session, user.id, f"{ADDRESS}/{number}", 9).secret for number in range(3)}
    assert len(secrets) == 3
    assert {len(secret) for secret in secrets} == {len("whsec_") + 44}  # 32 bytes in Base64


def test_owner_sees_the_newest_calls(harness: ServiceHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "SHOWN_CALLS", 2)
    sent = harness.reserve(1, user="ann")
    with harness.database.write() as session:
        user = users.find_user(session, "ann")
        webhooks.register(session, user.id, ADDRESS, 5)
        for _ in range(3):
            webhooks.queue_calls(session, sent, State.SCORED)
            session.flush()
    newest = [call.id for call in calls(harness.database)][:0:-1]
    with harness.database.read() as session:
        (view,) = webhook_views(session, user.id)
    assert [call.id for call in view.calls] == newest
    (first, _) = view.calls
    assert (first.type, first.submission, first.state, first.attempts) == ("submission.scored", sent, "waiting", 0)
    assert first.next_at is not None


def test_private_address_that_a_name_hides_is_never_called(service: Service, toy: Example) -> None:
    """The shared server allows no host by name, so its webhooks reach no host of this machine."""
    token = service.token("curious")
    with Receiver() as receiver:
        with service.database.write() as session:
            user = users.find_user(session, "curious")
            session.add(Webhook(user_id=user.id, url=receiver.url, secret="whsec_" + "QUJD" * 8))
        service.submit_and_score(token, "toy", npy(toy.scores(1.7)), kind="practice", method="curious")

        def look() -> list[WebhookCall]:
            return [call for call in calls(service.database, "curious") if call.error]

        (call,) = until(look, "a failed attempt")
        assert call.error == "The host has no public address."
        assert receiver.connections == 0
    (shown,) = _call(service, token, "GET").json()
    assert shown["calls"][0]["error"] == call.error

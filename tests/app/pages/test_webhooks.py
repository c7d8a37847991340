"""The page of the signed-in user's webhooks, and the section on the account page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from sqlalchemy import select, update

from app.accounts import users
from app.db.base import now
from app.db.webhooks import CallState, Webhook, WebhookCall
from tests.app.feedback.hooks import ADDRESS
from tests.app.pages.markup import Markup

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.app.benchmarks import Example
    from tests.app.pages.signed_in import SignedInUser
    from tests.app.service import Service

PAGE = "/account/webhooks"
HOSTILE = "https://hooks.example.org/?q=<script>alert(1)</script>"


@pytest.fixture
def owner(sign_in: Callable[[str], SignedInUser], request: pytest.FixtureRequest) -> SignedInUser:
    return sign_in(request.node.name)


def _add(owner: SignedInUser, url: str, form: str | None = None) -> httpx.Response:
    return owner.client.post(PAGE, data={"form": owner.csrf_token() if form is None else form, "url": url})


def _text(owner: SignedInUser, path: str = PAGE) -> str:
    return " ".join(owner.client.get(path).text.split())


def _webhooks(service: Service, owner: SignedInUser) -> list[Webhook]:
    with service.database.read() as session:
        user = users.find_user(session, owner.name)
        return list(session.scalars(select(Webhook).where(Webhook.user_id == user.id)))


def test_webhook_is_added_shown_and_removed(owner: SignedInUser, sign_in_service: Service) -> None:
    assert "You have no webhooks yet." in _text(owner)
    assert "Add a webhook" in _text(owner, "/account")
    added = _add(owner, f"  {HOSTILE} ")
    (webhook,) = _webhooks(sign_in_service, owner)
    assert webhook.url == HOSTILE
    assert f"<code>{webhook.secret}</code>" in added.text
    assert "<script>alert" not in added.text
    for path in (PAGE, "/account"):
        text = _text(owner, path)
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
        assert webhook.secret not in text
    assert "No call yet." in _text(owner)
    removal = f"{PAGE}/{webhook.id}/remove"
    assert removal in [form["action"] for form in Markup(owner.client.get(PAGE).text).all("form")]
    removed = owner.client.post(removal, data={"form": owner.csrf_token()})
    assert (removed.status_code, removed.url.path) == (200, PAGE)
    assert _webhooks(sign_in_service, owner) == []


def test_forms_need_the_csrf_token_and_the_page_a_session(
    owner: SignedInUser, sign_in: Callable[[str], SignedInUser], sign_in_service: Service
) -> None:
    assert _add(owner, ADDRESS, form="guessed").status_code == 403
    _add(owner, ADDRESS)
    (webhook,) = _webhooks(sign_in_service, owner)
    removal = f"{PAGE}/{webhook.id}/remove"
    assert owner.client.post(removal, data={"form": "guessed"}).status_code == 403
    visitor = httpx.get(f"{sign_in_service.url}{PAGE}", trust_env=False)
    assert visitor.headers["Location"] == "/sign-in"
    other = sign_in("another-owner-of-webhooks")
    assert other.client.post(removal, data={"form": other.csrf_token()}).status_code == 404
    assert len(_webhooks(sign_in_service, owner)) == 1


def test_page_says_why_an_address_is_refused_and_keeps_it(owner: SignedInUser, sign_in_service: Service) -> None:
    for address in ("http://hooks.example.org/x", "https://xn--a/", f"https://hooks.example.org/{'x' * 500}"):
        refused = _add(owner, address)
        assert "an https:// address of a public host" in " ".join(refused.text.split())
        assert f'value="{address}"' in refused.text
    assert _webhooks(sign_in_service, owner) == []


def test_page_shows_the_calls_and_a_disabled_webhook(
    owner: SignedInUser, sign_in_service: Service, toy: Example
) -> None:
    _add(owner, "https://localhost.invalid./hook")
    (webhook,) = _webhooks(sign_in_service, owner)
    with sign_in_service.database.write() as session:  # so that the server makes no call
        session.execute(update(Webhook).where(Webhook.id == webhook.id).values(disabled_at=now()))
    sent = owner.send(toy, "reported", kind="practice")
    with sign_in_service.database.write() as session:
        row = {"webhook_id": webhook.id, "submission_id": sent, "event": "scored", "attempts": 6}
        session.add(WebhookCall(**row, state=CallState.FAILED, ended_at=now(), status=500, error="It said <b>500</b>."))
    text = _text(owner)
    assert f'href="/submissions/{sent}"' in text
    for expected in ("submission.scored", "failed", "It said &lt;b&gt;500&lt;/b&gt;.", "Disabled on"):
        assert expected in text
    assert 'class="badge warning">disabled' in _text(owner, "/account")

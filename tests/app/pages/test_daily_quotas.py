"""The account page and the submission form show daily quotas, and the forms of the account page obey them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from app.db.accounts import Audit
from tests.app.pages.signed_in import SignedInUser
from tests.app.service import Service, npy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.app.benchmarks import Example
    from tests.app.pages.provider import Provider

LIMITS = {"practice_per_day": 2, "edits_per_day": 1, "tokens_per_day": 2, "tokens_per_user": 4}


@pytest.fixture(scope="module")
def limited_service(tmp_path_factory: pytest.TempPathFactory, provider: Provider, toy: Example) -> Iterator[Service]:
    """A server with small daily quotas, on which users can sign in."""
    with Service(tmp_path_factory.mktemp("limited"), **provider.settings, **LIMITS) as running:
        running.publish(toy.folder)
        yield running


@pytest.fixture
def user(limited_service: Service, provider: Provider, request: pytest.FixtureRequest) -> Iterator[SignedInUser]:
    provider.sign_in(request.node.name, request.node.name)
    signed_in = SignedInUser(limited_service)
    yield signed_in
    signed_in.client.close()


def _text(user: SignedInUser, path: str) -> str:
    return " ".join(user.client.get(path).text.split())


def test_pages_show_the_practice_submissions_that_are_left(
    user: SignedInUser, limited_service: Service, toy: Example
) -> None:
    token = limited_service.token(user.name)
    of_two = "Of the 2 practice submissions to all benchmarks that you may send in any 24 hours, you have"
    assert f"{of_two} 2 left." in _text(user, "/account")
    assert f"as an attempt. {of_two} 2 left." in _text(user, "/benchmarks/toy/submit")
    for seed in range(2):
        assert limited_service.submit(token, "toy", npy(toy.scores(seed=seed)), kind="practice").status_code == 202
    assert f"{of_two} none left; the next is available at" in _text(user, "/account")
    assert f"{of_two} none left; the next is available at" in _text(user, "/benchmarks/toy/submit")


def test_pages_without_a_limit_say_so(service: Service, sign_in_service: Service, provider: Provider) -> None:
    provider.sign_in("endless", "endless")
    signed_in = SignedInUser(sign_in_service)
    assert "Practice submissions are not limited in number." in _text(signed_in, "/account")
    signed_in.client.close()
    shown = service.client.get(f"{service.url}/benchmarks/toy/submit").text
    assert "not listed, and does not count as an attempt." in shown
    assert "practice submissions to all benchmarks" not in shown


def test_form_obeys_the_quota_of_edits(user: SignedInUser, toy: Example, limited_service: Service) -> None:
    sent = user.send(toy, "edited", kind="practice")
    assert user.post(sent, description="First").status_code == 200
    refused = user.post(sent, description="Second")
    assert refused.status_code == 429
    assert "The quota is 1 edit in 24 hours" in refused.text
    assert limited_service.row(sent).description == "First"


def test_forms_obey_the_quotas_of_tokens(user: SignedInUser, limited_service: Service) -> None:
    form = user.csrf_token()
    wanted = {"form": form, "name": "first", "scopes": ["submit"] * 500, "days": "7"}
    assert "This is your new token." in user.client.post("/account/tokens", data=wanted).text
    with limited_service.database.read() as session:
        details = session.scalars(select(Audit.detail).where(Audit.actor == user.name)).all()
    assert details == [{"token": "first", "scopes": ["submit"]}], "each scope is recorded once"
    assert user.submit_token(form).status_code == 200
    refused = user.submit_token(form)
    assert (refused.status_code, refused.json()["code"]) == (429, "quota.exceeded")
    page = user.client.post("/account/tokens", data=wanted | {"name": "third"})
    assert "The quota is 2 new tokens in 24 hours" in page.text
    assert "This is your new token." not in page.text
    assert 'value="third"' in page.text  # the form keeps what was typed


def test_form_obeys_the_quota_of_all_tokens(user: SignedInUser, limited_service: Service) -> None:
    for _ in range(LIMITS["tokens_per_user"]):
        limited_service.token(user.name)
    page = user.client.post(
        "/account/tokens", data={"form": user.csrf_token(), "name": "more", "scopes": "submit", "days": "7"}
    )
    assert "The quota is 4 tokens, and you have 4, including expired tokens." in page.text
    refused = user.submit_token(user.csrf_token())
    assert (refused.status_code, refused.json()["code"]) == (429, "quota.tokens")

"""The account page: download of the own data, deletion of the account, and what users read about suspensions and bans."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx
import pytest

from app.accounts import users
from app.accounts.audit import OPERATOR
from app.management import moderation
from tests.app.pages.markup import Markup

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.app.benchmarks import Example
    from tests.app.pages.signed_in import SignedInUser
    from tests.app.service import Service

REASON = "A <b>copy</b> of another entry."


@pytest.fixture
def owner(sign_in: Callable[[str], SignedInUser], request: pytest.FixtureRequest) -> SignedInUser:
    return sign_in(request.node.name)


def _delete(user: SignedInUser, confirm: str | None = None, form: str | None = None) -> httpx.Response:
    fields = {"form": user.csrf_token() if form is None else form, "confirm": user.name if confirm is None else confirm}
    return user.client.post("/account/delete", data=fields)


def test_account_page_downloads_the_data_of_the_user(owner: SignedInUser) -> None:
    forms = [form["action"] for form in Markup(owner.client.get("/account").text).all("form")]
    assert "/account/export" in forms
    answer = owner.client.post("/account/export", data={"form": owner.csrf_token()})
    assert answer.headers["Content-Disposition"] == f'attachment; filename="ldsboard-{owner.name}.json"'
    assert answer.json()["account"]["name"] == owner.name
    assert owner.client.post("/account/export", data={"form": "guessed"}).status_code == 403


def test_confirmation_names_what_happens(owner: SignedInUser, toy: Example) -> None:
    owner.send(toy, "staying")
    owner.send(toy, "tried", kind="practice")
    assert 'href="/account/delete"' in owner.client.get("/account").text
    page = " ".join(owner.client.get("/account/delete").text.split())
    for text in ("without a result (1 submission)", "with a result (1 submission)", "cannot be undone"):
        assert text in page
    visitor = httpx.get(f"{owner.service.url}/account/delete", trust_env=False)
    assert visitor.headers["Location"] == "/sign-in"


def test_deletion_needs_the_name_and_the_csrf_token(owner: SignedInUser) -> None:
    for confirm in ("", "another", owner.name.upper(), "x" * 65):
        refused = _delete(owner, confirm)
        (alert,) = re.findall(r'<p role="alert" class="notice">(.*)</p>', refused.text)
        assert "Nothing was deleted" in alert
        assert f'name="confirm" required maxlength="64" value="{confirm}"' in refused.text
    assert _delete(owner, form="guessed").status_code == 403
    assert f"<h1>{owner.name}</h1>" in owner.client.get("/account").text


def test_deletion_ends_every_session_and_the_sign_in(
    owner: SignedInUser,
    sign_in: Callable[[str], SignedInUser],
    sign_in_service: Service,
    toy: Example,
    request: pytest.FixtureRequest,
) -> None:
    sent = owner.send(toy, "remaining")
    elsewhere = sign_in(request.node.name)
    done = _delete(owner)
    placeholder = re.search("deleted-[0-9]+", done.text)
    assert placeholder is not None
    for user in (owner, elsewhere):
        assert user.client.get("/account").url.path == "/sign-in"
    page = httpx.get(f"{sign_in_service.url}/submissions/{sent}", trust_env=False).text
    assert placeholder[0] in page
    assert owner.name not in page
    refused = owner.client.get("/sign-in/oidc")
    assert (refused.status_code, refused.url.path) == (403, "/sign-in/oidc/callback")
    assert "or later to create a new account" in refused.text


def test_banned_user_is_signed_out_and_reads_the_reason_at_sign_in(
    owner: SignedInUser, sign_in_service: Service
) -> None:
    with sign_in_service.database.write() as session:
        moderation.ban(session, owner.name, REASON, "ops@example.org", OPERATOR)
    assert owner.client.get("/account").url.path == "/sign-in"
    assert owner.client.get("/").status_code == 200  # public pages stay readable
    refused = owner.client.get("/sign-in/oidc")
    assert refused.status_code == 403
    assert "A &lt;b&gt;copy&lt;/b&gt; of another entry." in refused.text
    assert "To answer, write to ops@example.org." in refused.text
    with sign_in_service.database.write() as session:
        moderation.lift_ban(session, owner.name, OPERATOR)
    assert owner.client.get("/sign-in/oidc").url.path == "/account"


def test_owner_of_a_suspended_submission_reads_the_reason_and_whom_to_answer(
    owner: SignedInUser, sign_in_service: Service, toy: Example
) -> None:
    sent = owner.send(toy, "judged", kind="practice")
    with sign_in_service.database.write() as session:
        moderation.suspend(session, sent, REASON, "ops@example.org", OPERATOR)
    page = " ".join(owner.client.get(f"/submissions/{sent}").text.split())
    for text in ("Hidden by an admin", "A &lt;b&gt;copy&lt;/b&gt; of another entry.", "write to ops@example.org"):
        assert text in page
    assert "hidden by an admin" in owner.client.get("/account").text
    assert httpx.get(f"{sign_in_service.url}/submissions/{sent}", trust_env=False).status_code == 404
    with sign_in_service.database.write() as session:
        moderation.reinstate(session, sent, OPERATOR)
    assert "Hidden by an admin" not in owner.client.get(f"/submissions/{sent}").text
    assert httpx.get(f"{sign_in_service.url}/submissions/{sent}", trust_env=False).status_code == 200


def test_operator_deletes_a_signed_in_user(owner: SignedInUser, sign_in_service: Service) -> None:
    result = sign_in_service.run("user", "delete", owner.name, "--yes")
    assert result.returncode == 0, result.stderr
    assert owner.client.get("/account").url.path == "/sign-in"
    with sign_in_service.database.read() as session, pytest.raises(ValueError, match="There is no user"):
        users.find_user(session, owner.name)

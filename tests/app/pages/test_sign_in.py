"""Signing in with a provider, tokens of the account page, and the session cookie, which never authenticates API calls."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr, ValidationError
from sqlalchemy import select

from app.db.accounts import Audit, User
from app.settings import Settings
from app.web import sessions
from tests.app.pages.markup import Markup
from tests.app.pages.provider import CLIENT, Provider
from tests.app.service import npy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.app.service import Service


@pytest.fixture(autouse=True)
def reset_provider(provider: Provider) -> None:
    provider.sign_in("1", "ada")


def _browser(sign_in_service: Service) -> httpx.Client:
    headers = {"Accept": "text/html"}
    return httpx.Client(base_url=sign_in_service.url, headers=headers, follow_redirects=True, trust_env=False)


@contextmanager
def _signed_in(sign_in_service: Service, way: str = "oidc") -> Iterator[httpx.Client]:
    with _browser(sign_in_service) as browser:
        answer = browser.get(f"/sign-in/{way}")
        assert answer.status_code == 200, answer.text
        assert answer.url.path == "/account"
        yield browser


def _csrf_token(browser: httpx.Client) -> str:
    (csrf_token,) = set(re.findall(r'name="form" value="([^"]+)"', browser.get("/account").text))
    return str(csrf_token)


def _create(browser: httpx.Client, csrf_token: str, **more: Any) -> httpx.Response:
    fields = {"form": csrf_token, "name": "laptop", "scopes": "submit", "days": "7"} | more
    return browser.post("/account/tokens", data=fields)


def test_sign_in_page_offers_the_providers(sign_in_service: Service) -> None:
    with _browser(sign_in_service) as browser:
        page = browser.get("/account")
        assert page.url.path == "/sign-in"
        assert 'href="/sign-in/oidc"' in page.text
        assert "Sign in with GitHub" in page.text


def test_sign_in_page_without_a_provider_shows_operator_commands(service: Service) -> None:
    with _browser(service) as browser:
        page = browser.get("/account").text
        assert "Ask the operator" in page
        for command in (
            "python -m app user add NAME",
            "python -m app token create NAME --scope submit --scope manage",
            "Ask the operator for a token with this scope",
            "trusted workflows, webhooks",
            "POST /api/v1/publishers",
            f"LDSBOARD_SERVER={service.url}",
        ):
            assert command in page
        assert 'href="/guide"' in page
        assert browser.get("/sign-in/oidc").status_code == 404


@pytest.mark.parametrize("way", ["oidc", "github"])
def test_returning_user_keeps_the_account_after_a_name_change(
    sign_in_service: Service, provider: Provider, way: str
) -> None:
    provider.current = {"sub": "41", "preferred_username": "Grace Hopper"}
    with _signed_in(sign_in_service, way) as browser:
        name = re.search("<h1>(.*?)</h1>", browser.get("/account").text)
    assert name is not None
    assert name[1].startswith("grace-hopper")
    provider.current["preferred_username"] = "another"
    with _signed_in(sign_in_service, way) as browser:
        assert f"<h1>{name[1]}</h1>" in browser.get("/account").text


@pytest.mark.parametrize(("way", "verified"), [("oidc", True), ("github", False)])
def test_pages_tell_users_without_a_verified_identity(
    sign_in_service: Service, provider: Provider, way: str, verified: bool
) -> None:
    provider.sign_in({"oidc": "45", "github": "46"}[way], f"verified-by-{way}")
    with _signed_in(sign_in_service, way) as browser:
        # With a large quota of the user, the shared quota leaves less.
        sign_in_service.token(f"verified-by-{way}", ranked_per_day=1000, ranked_per_version=1000)
        assert ("Your account has no verified identity" in browser.get("/account").text) is not verified
        submit = browser.get("/benchmarks/toy/submit").text
    assert ("All accounts without a verified identity share these attempts" in submit) is not verified


def test_second_user_with_the_same_name_gets_another_name(sign_in_service: Service, provider: Provider) -> None:
    names = set()
    for subject in ("51", "52"):
        provider.current = {"sub": subject, "preferred_username": "same"}
        with _signed_in(sign_in_service) as browser:
            names.update(re.findall("<h1>(.*?)</h1>", browser.get("/account").text))
    assert names == {"same", "same-2"}


@pytest.mark.parametrize("login", ["anonymous-1", "", "../../etc", "<script>alert(1)</script>", "é" * 300])
def test_provider_names_become_valid_user_names(sign_in_service: Service, provider: Provider, login: str) -> None:
    provider.current = {"sub": f"name {login[:9]}", "preferred_username": login}
    with _signed_in(sign_in_service):
        pass
    with sign_in_service.database.read() as session:
        names = session.scalars(select(User.name)).all()
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", name) for name in names)
    assert not any(name.startswith("anonymous-") for name in names)


@pytest.mark.parametrize(
    "lies",
    [
        {"aud": "somebody else"},
        {"sub": "s" * 256},
        {"sub": "a\0b"},
        {"aud": "somebody else", "azp": CLIENT},
        {"aud": ["somebody else"], "azp": CLIENT},
        {"aud": []},
        {"aud": ""},
        {"aud": None},
        {"aud": [None]},
        {"iss": "https://example.org"},
        {"nonce": "of another session"},
        {"exp": int(time.time()) - 3600},
        {"sub": ""},
    ],
    ids=lambda lies: next(iter(lies)),
)
def test_invalid_id_token_claims_are_rejected(
    sign_in_service: Service, provider: Provider, lies: dict[str, Any]
) -> None:
    provider.false_claims = lies
    with _browser(sign_in_service) as browser:
        refused = browser.get("/sign-in/oidc")
        assert refused.status_code == 502
        assert "Signing in failed" in refused.text
        assert browser.get("/account").url.path == "/sign-in"


@pytest.mark.parametrize("audience", [[CLIENT], ["another", CLIENT]])
def test_id_token_for_several_audiences_is_accepted(
    sign_in_service: Service, provider: Provider, audience: list[str]
) -> None:
    provider.false_claims = {"aud": audience, "azp": CLIENT}
    with _signed_in(sign_in_service):
        pass


def test_id_token_with_a_foreign_signature_is_rejected(sign_in_service: Service, provider: Provider) -> None:
    with _signed_in(sign_in_service), Provider() as impostor:  # the server has cached the true key
        key, provider.key = provider.key, impostor.key
        provider.published_key = key
        try:
            with _browser(sign_in_service) as browser:
                assert browser.get("/sign-in/oidc").status_code == 502
                assert browser.get("/account").url.path == "/sign-in"
        finally:
            provider.key = key


def test_callback_with_a_forged_state_is_rejected(sign_in_service: Service) -> None:
    with _browser(sign_in_service) as browser:
        refused = browser.get("/sign-in/oidc/callback", params={"code": "stolen", "state": "forged"})
        assert refused.status_code == 502
        assert browser.get("/account").url.path == "/sign-in"


def test_token_created_on_the_page_is_shown_once_and_works(sign_in_service: Service, provider: Provider) -> None:
    provider.current = {"sub": "61", "preferred_username": "maker"}
    with _signed_in(sign_in_service) as browser:
        csrf_token = _csrf_token(browser)
        made = _create(browser, csrf_token)
        (value,) = re.findall("ldsb_[A-Za-z0-9_-]+", made.text)
        assert value not in browser.get("/account").text
        headers = {"Authorization": f"Bearer {value}"}
        view = sign_in_service.client.get("/users/me", headers=headers).json()
        assert view["token"]["scopes"] == ["submit"]
        assert view["token"]["expires_at"] is not None
        again = _create(browser, csrf_token)
        assert "Choose another name" in again.text
        assert (
            browser.post(f"/account/tokens/{view['token']['id']}/revoke", data={"form": csrf_token}).status_code == 200
        )
        assert sign_in_service.client.get("/users/me", headers=headers).status_code == 401
    with sign_in_service.database.read() as session:
        actions = session.scalars(select(Audit.action).where(Audit.actor == view["name"])).all()
    assert actions == ["token.created", "token.revoked"]


def test_csrf_token_of_another_session_is_rejected(sign_in_service: Service) -> None:
    with _signed_in(sign_in_service) as browser, _signed_in(sign_in_service) as other:
        for csrf_token in ("", "guessed", _csrf_token(other)):
            refused = _create(browser, csrf_token, name="forged")
            assert refused.status_code == 403
            assert "Open the page again" in refused.text
        assert "forged" not in browser.get("/account").text
    with _browser(sign_in_service) as visitor:
        assert _create(visitor, "None").status_code == 403


def test_session_cookie_does_not_authenticate_api_calls(sign_in_service: Service) -> None:
    with _signed_in(sign_in_service) as browser:
        assert browser.get("/api/v1/users/me").status_code == 401
        assert browser.post("/api/v1/tokens", json={"name": "x", "scopes": ["submit"]}).status_code == 401


def test_sign_out_ends_every_copy_of_the_session(sign_in_service: Service, provider: Provider) -> None:
    with _signed_in(sign_in_service) as browser, _browser(sign_in_service) as thief:
        thief.cookies.update(browser.cookies)
        csrf_token = _csrf_token(browser)
        assert thief.get("/account").url.path == "/account"
        provider.sign_in("71", "bystander")
        with _signed_in(sign_in_service) as bystander:
            assert browser.post("/sign-out", data={"form": csrf_token}).url.path == "/"
            assert bystander.get("/account").url.path == "/account"
        assert thief.get("/account").url.path == "/sign-in"
        for answer in (
            _create(thief, csrf_token, name="stolen"),
            thief.post("/account/submit-token", data={"form": csrf_token}),
            thief.post("/sign-out", data={"form": csrf_token}),
        ):
            assert answer.status_code == 403
    provider.sign_in("1", "ada")
    with _signed_in(sign_in_service) as browser:
        assert "stolen" not in browser.get("/account").text


def test_session_cookie_is_httponly_and_samesite(sign_in_service: Service) -> None:
    with _signed_in(sign_in_service) as browser:
        browser.follow_redirects = False
        cookie = browser.get("/sign-in/oidc").headers["Set-Cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie


def test_private_submission_page_is_shown_only_to_its_signed_in_owner(sign_in_service: Service, toy: Example) -> None:
    with _signed_in(sign_in_service) as browser:
        name = re.findall("<h1>(.*?)</h1>", browser.get("/account").text)[0]
        token = sign_in_service.token(name)
        sent = sign_in_service.submit_and_score(token, "toy", npy(toy.scores(0.5)), method="kept")["id"]
        headers = {"Authorization": f"Bearer {token}"}
        sign_in_service.client.patch(f"/submissions/{sent}", headers=headers, json={"visibility": "private"})
        page = browser.get(f"/submissions/{sent}")
        assert page.status_code == 200
        assert page.headers["Cache-Control"] == "no-store"
        account = browser.get("/account").text
        assert f'href="/submissions/{sent}"' in account
        assert ["toy", "4 of 5", "29 of 30", "now"] in Markup(account).tables[-2]
        csrf_token = _csrf_token(browser)
        assert browser.post("/sign-out", data={"form": csrf_token}).url.path == "/"
        assert browser.get(f"/submissions/{sent}").status_code == 404


def test_session_key_file_is_readable_only_by_its_owner(sign_in_service: Service) -> None:
    path = sign_in_service.settings.data_dir / "session-key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(path.read_text()) >= 40


@pytest.mark.parametrize("kept", ["", "short", f"{'x' * 32}\nshort", ",\n"])
def test_short_session_key_is_rejected(tmp_path: Path, kept: str) -> None:
    (tmp_path / "session-key").write_text(kept)
    with pytest.raises(RuntimeError, match="at least 32 are required"):
        sessions.install(FastAPI(), Settings(data_dir=tmp_path))
    with pytest.raises(ValidationError, match="at least 32 random characters"):
        Settings(session_key=SecretStr("short"))
    (tmp_path / "session-key").unlink()
    sessions.install(FastAPI(), Settings(data_dir=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["session-key"]

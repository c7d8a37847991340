"""Signing in by a provider, and what one can do then; a cookie opens pages and never the API."""

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
from tests.app.pages.provider import Provider
from tests.app.service import npy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.app.service import Service


@pytest.fixture(autouse=True)
def honest(provider: Provider) -> None:
    provider.sign_in("1", "ada")


def _browser(board: Service) -> httpx.Client:
    headers = {"Accept": "text/html"}
    return httpx.Client(base_url=board.url, headers=headers, follow_redirects=True, trust_env=False)


@contextmanager
def _signed_in(board: Service, way: str = "oidc") -> Iterator[httpx.Client]:
    with _browser(board) as browser:
        answer = browser.get(f"/sign-in/{way}")
        assert answer.status_code == 200, answer.text
        assert answer.url.path == "/account"
        yield browser


def _form(browser: httpx.Client) -> str:
    (form,) = set(re.findall(r'name="form" value="([^"]+)"', browser.get("/account").text))
    return str(form)


def _create(browser: httpx.Client, form: str, **more: Any) -> httpx.Response:
    fields = {"form": form, "name": "laptop", "scopes": "submit", "days": "7"} | more
    return browser.post("/account/tokens", data=fields)


def test_the_providers_are_offered(board: Service) -> None:
    with _browser(board) as browser:
        page = browser.get("/account")
        assert page.url.path == "/sign-in"
        assert 'href="/sign-in/oidc"' in page.text
        assert "Sign in with GitHub" in page.text


def test_without_a_provider_the_operator_gives_out_tokens(service: Service) -> None:
    with _browser(service) as browser:
        page = browser.get("/account").text
        assert "Ask the operator" in page
        for command in (
            "python -m app user add NAME",
            "python -m app token create NAME",
            f"LDSBOARD_SERVER={service.url}",
        ):
            assert command in page
        assert 'href="/guide"' in page
        assert browser.get("/sign-in/oidc").status_code == 404


@pytest.mark.parametrize("way", ["oidc", "github"])
def test_who_comes_again_has_the_same_account_under_whatever_name(board: Service, provider: Provider, way: str) -> None:
    provider.current = {"sub": "41", "preferred_username": "Grace Hopper"}
    with _signed_in(board, way) as browser:
        name = re.search("<h1>(.*?)</h1>", browser.get("/account").text)
    assert name is not None
    assert name[1].startswith("grace-hopper")
    provider.current["preferred_username"] = "another"
    with _signed_in(board, way) as browser:
        assert f"<h1>{name[1]}</h1>" in browser.get("/account").text


def test_nobody_takes_the_name_of_another(board: Service, provider: Provider) -> None:
    names = set()
    for subject in ("51", "52"):
        provider.current = {"sub": subject, "preferred_username": "same"}
        with _signed_in(board) as browser:
            names.update(re.findall("<h1>(.*?)</h1>", browser.get("/account").text))
    assert names == {"same", "same-2"}


@pytest.mark.parametrize("login", ["anonymous-1", "", "../../etc", "<script>alert(1)</script>", "é" * 300])
def test_any_name_becomes_one_that_users_may_have(board: Service, provider: Provider, login: str) -> None:
    provider.current = {"sub": f"name {login}", "preferred_username": login}
    with _signed_in(board):
        pass
    with board.database.read() as session:
        names = session.scalars(select(User.name)).all()
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", name) for name in names)
    assert not any(name.startswith("anonymous-") for name in names)


@pytest.mark.parametrize(
    "lies",
    [
        {"aud": "somebody else"},
        {"iss": "https://example.org"},
        {"nonce": "of another session"},
        {"exp": int(time.time()) - 3600},
        {"sub": ""},
    ],
    ids=lambda lies: next(iter(lies)),
)
def test_what_is_not_to_be_believed_signs_nobody_in(board: Service, provider: Provider, lies: dict[str, Any]) -> None:
    provider.lies = lies
    with _browser(board) as browser:
        refused = browser.get("/sign-in/oidc")
        assert refused.status_code == 502
        assert "Signing in did not work" in refused.text
        assert browser.get("/account").url.path == "/sign-in"


def test_a_token_signed_by_another_signs_nobody_in(board: Service, provider: Provider) -> None:
    with _signed_in(board), Provider() as impostor:  # the server knows the true key by now
        key, provider.key = provider.key, impostor.key
        provider.shown = key
        try:
            with _browser(board) as browser:
                assert browser.get("/sign-in/oidc").status_code == 502
                assert browser.get("/account").url.path == "/sign-in"
        finally:
            provider.key = key


def test_an_answer_that_was_not_asked_for_signs_nobody_in(board: Service) -> None:
    with _browser(board) as browser:
        refused = browser.get("/sign-in/oidc/callback", params={"code": "stolen", "state": "forged"})
        assert refused.status_code == 502
        assert browser.get("/account").url.path == "/sign-in"


def test_a_token_made_on_the_page_is_shown_once_and_works(board: Service, provider: Provider) -> None:
    provider.current = {"sub": "61", "preferred_username": "maker"}
    with _signed_in(board) as browser:
        form = _form(browser)
        made = _create(browser, form)
        (value,) = re.findall("ldsb_[A-Za-z0-9_-]+", made.text)
        assert value not in browser.get("/account").text
        headers = {"Authorization": f"Bearer {value}"}
        view = board.client.get("/users/me", headers=headers).json()
        assert view["token"]["scopes"] == ["submit"]
        assert view["token"]["expires_at"] is not None
        again = _create(browser, form)
        assert "Choose another name" in again.text
        assert browser.post(f"/account/tokens/{view['token']['id']}/revoke", data={"form": form}).status_code == 200
        assert board.client.get("/users/me", headers=headers).status_code == 401
    with board.database.read() as session:
        actions = session.scalars(select(Audit.action).where(Audit.actor == view["name"])).all()
    assert actions == ["token.created", "token.revoked"]


def test_a_form_of_another_session_changes_nothing(board: Service) -> None:
    with _signed_in(board) as browser, _signed_in(board) as other:
        for form in ("", "guessed", _form(other)):
            refused = _create(browser, form, name="forged")
            assert refused.status_code == 403
            assert "Open the page again" in refused.text
        assert "forged" not in browser.get("/account").text
    with _browser(board) as nobody:
        assert _create(nobody, "None").status_code == 403


def test_a_cookie_opens_no_call_of_the_api(board: Service) -> None:
    with _signed_in(board) as browser:
        assert browser.get("/api/v1/users/me").status_code == 401
        assert browser.post("/api/v1/tokens", json={"name": "x", "scopes": ["submit"]}).status_code == 401


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(board: Service) -> None:
    with _signed_in(board) as browser:
        browser.follow_redirects = False
        cookie = browser.get("/sign-in/oidc").headers["Set-Cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie


def test_ones_own_private_page_opens_for_who_signed_in_alone(board: Service, toy: Example) -> None:
    with _signed_in(board) as browser:
        name = re.findall("<h1>(.*?)</h1>", browser.get("/account").text)[0]
        token = board.token(name)
        sent = board.scored(token, "toy", npy(toy.scores(0.5)), method="kept")["id"]
        headers = {"Authorization": f"Bearer {token}"}
        board.client.patch(f"/submissions/{sent}", headers=headers, json={"visibility": "private"})
        page = browser.get(f"/submissions/{sent}")
        assert page.status_code == 200
        assert page.headers["Cache-Control"] == "no-store"
        account = browser.get("/account").text
        assert f'href="/submissions/{sent}"' in account
        assert ["toy", "4 of 5", "29 of 30", "now"] in Markup(account).tables[-2]
        form = _form(browser)
        assert browser.post("/sign-out", data={"form": form}).url.path == "/"
        assert browser.get(f"/submissions/{sent}").status_code == 404


def test_the_key_of_the_cookies_is_kept_and_nobody_elses_to_read(board: Service) -> None:
    path = board.settings.data_dir / "session-key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(path.read_text()) >= 40


@pytest.mark.parametrize("kept", ["", "short"])
def test_a_key_that_was_not_written_whole_signs_nothing(tmp_path: Path, kept: str) -> None:
    (tmp_path / "session-key").write_text(kept)
    with pytest.raises(RuntimeError, match="at least 32 characters"):
        sessions.install(FastAPI(), Settings(data_dir=tmp_path))
    with pytest.raises(ValidationError, match="at least 32 random characters"):
        Settings(session_key=SecretStr("short"))
    (tmp_path / "session-key").unlink()
    sessions.install(FastAPI(), Settings(data_dir=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["session-key"]

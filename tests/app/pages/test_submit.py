"""The submit page, read without a browser: its commands work, and only the signed-in user gets its token."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
import yaml
from sqlalchemy import select

from app.db.accounts import Audit, Token
from tests.app.service import ROOT, npy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.app.pages.conftest import Site
    from tests.app.pages.signed_in import SignedInUser
    from tests.app.service import Service


def _command(text: str, way: str) -> str:
    (found,) = re.findall(rf'<code data-way="{way}">(.*?)</code>', text, re.DOTALL)
    return html.unescape(found)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory, toy: Example) -> Path:
    """A working directory with a score file, and a folder bin with the commands ldsboard and python."""
    folder: Path = tmp_path_factory.mktemp("workdir")
    np.save(folder / "scores.npy", toy.scores())
    (folder / "bin").mkdir()
    for name, module in (("ldsboard", "-m ldsboard.cli"), ("python", "")):
        script = folder / "bin" / name
        script.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} {module} "$@"\n')
        script.chmod(0o755)
    return folder


def _run(workdir: Path, script: str, **environment: str) -> str:
    path = f"{workdir / 'bin'}:{os.environ['PATH']}"
    settings = {"PATH": path, "LDSBOARD_CACHE": str(workdir / "cache"), "no_proxy": "*"} | environment
    command = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(
        command,
        cwd=workdir,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _sent(site: Site, name: str) -> list[dict[str, Any]]:
    token = site.service.token(name)
    listed = site.service.client.get("/users/me/submissions", headers={"Authorization": f"Bearer {token}"}).json()
    return [site.service.wait_until_final(view["id"]) for view in listed]


@pytest.mark.parametrize("way", ["curl", "cli", "python"])
def test_each_command_sends_a_practice_submission(site: Site, workdir: Path, way: str) -> None:
    command = _command(site.text("/benchmarks/toy/submit"), way)
    token, environment = site.service.token(f"by-{way}"), {}
    if way in ("curl", "cli"):
        assert command.count("ldsb_…") == 1
        script = command.replace("ldsb_…", token)
    else:
        environment = {"LDSBOARD_TOKEN": token}
        script = f"python - <<'END'\n{command}\nEND"
    _run(workdir, script, **environment)
    (view,) = _sent(site, f"by-{way}")
    assert (view["state"], view["kind"], view["method"]) == ("scored", "practice", "my-method")


def test_workflow_is_the_template_with_the_benchmark_and_the_server(site: Site) -> None:
    shown = _command(site.text("/benchmarks/toy/submit"), "actions")
    expected = (ROOT / "templates/ci/github.yml").read_text(encoding="utf-8")
    for example, value in (("fashion5k-mlp", "toy"), ("https://ldsboard.example", site.service.url)):
        assert example in expected
        expected = expected.replace(example, value)
    assert shown == expected
    *steps, last = yaml.safe_load(shown)["jobs"]["lds"]["steps"]
    assert last["with"].items() >= {"benchmark": "toy", "server": site.service.url, "owner": "YOU"}.items()
    assert not any("${{" in step.get("run", "") for step in steps)
    assert "secrets." not in shown
    assert "COPY templates/ci templates/ci" in (ROOT / "docker/server.Dockerfile").read_text()


def test_visitor_is_asked_for_a_token(site: Site) -> None:
    page = site.page("/benchmarks/toy/submit")
    (field,) = [attributes for attributes in page.all("input") if attributes["name"] == "token"]
    assert (field["type"], field["autocomplete"]) == ("password", "off")
    assert "form" not in {attributes["name"] for attributes in page.all("input")}


def test_every_field_has_a_label_and_every_description_exists(site: Site) -> None:
    page = site.page("/benchmarks/toy/submit")
    labelled = {attributes.get("for") for attributes in page.all("label")}
    ids = {attributes.get("id") for _, attributes in page.elements}
    for attributes in page.all("input") + page.all("textarea"):
        assert attributes.get("type") == "radio" or attributes["id"] in labelled
        assert attributes.get("aria-describedby") in ids | {None}


@pytest.fixture
def browser(sign_in: Callable[[str], SignedInUser], request: pytest.FixtureRequest) -> SignedInUser:
    return sign_in(request.node.name)


def test_signed_in_user_gets_a_submit_token_for_one_hour(
    browser: SignedInUser, sign_in_service: Service, toy: Example
) -> None:
    page = browser.client.get("/benchmarks/toy/submit").text
    assert 'name="token"' not in page
    assert yaml.safe_load(_command(page, "actions"))["jobs"]["lds"]["steps"][-1]["with"]["owner"] == browser.name
    left = (
        "attempts at this benchmark that you may make in any 24 hours, you have 5 left; of the 30 for this version, 30."
    )
    assert f"Of the 5 {left}" in " ".join(page.split())
    answer = browser.submit_token(browser.csrf_token())
    value = answer.json()["token"]
    assert answer.headers["Cache-Control"] == "no-store"
    headers = {"Authorization": f"Bearer {value}"}
    view = sign_in_service.client.get("/users/me", headers=headers).json()
    assert view["token"]["scopes"] == ["submit"]
    ends = datetime.fromisoformat(view["token"]["expires_at"])
    assert timedelta(minutes=59) < ends - datetime.now(UTC) <= timedelta(hours=1)
    assert (
        sign_in_service.client.post("/tokens", headers=headers, json={"name": "x", "scopes": ["submit"]}).status_code
        == 403
    )
    sent = sign_in_service.submit_and_score(value, "toy", npy(toy.scores()))["id"]
    assert sign_in_service.client.patch(f"/submissions/{sent}", headers=headers, json={"title": "x"}).status_code == 403
    with sign_in_service.database.read() as session:
        detail = session.scalars(select(Audit.detail).where(Audit.actor == view["name"]).order_by(Audit.id)).all()[-1]
    assert detail == {"token": view["token"]["name"], "scopes": ["submit"]}


def test_submit_token_needs_the_csrf_token_of_the_session(
    browser: SignedInUser, sign_in_service: Service, sign_in: Callable[[str], SignedInUser]
) -> None:
    other = sign_in("other")
    for csrf_token in ("", "guessed", "None", other.csrf_token()):
        refused = browser.submit_token(csrf_token)
        assert refused.status_code == 403
        assert refused.json()["code"] == "auth.form"
        assert "ldsb_" not in refused.text
    visitor = httpx.post(
        f"{sign_in_service.url}/account/submit-token", data={"form": browser.csrf_token()}, trust_env=False
    )
    assert visitor.status_code == 403


def test_session_cookie_starts_no_upload(browser: SignedInUser) -> None:
    announced = {"benchmark": "toy", "method": "m", "size": 10, "sha256": "0" * 64}
    for headers in ({}, {"X-Form": browser.csrf_token()}):
        refused = browser.client.post("/api/v1/submissions", json=announced, headers=headers)
        assert refused.status_code == 401


def test_expired_page_tokens_are_deleted(browser: SignedInUser, sign_in_service: Service) -> None:
    csrf_token = browser.csrf_token()
    first = browser.submit_token(csrf_token).json()["token"]
    name = sign_in_service.client.get("/users/me", headers={"Authorization": f"Bearer {first}"}).json()["name"]
    with sign_in_service.database.write() as session:
        for token in session.scalars(select(Token).where(Token.name.startswith("browser-"))):
            token.expires_at = datetime.now(UTC) - timedelta(seconds=1)
            kept = Token(user_id=token.user_id, name="kept", digest="0" * 64, scopes=[], expires_at=token.expires_at)
        session.add(kept)
    browser.submit_token(csrf_token)
    with sign_in_service.database.read() as session:
        names = [token.name for token in session.scalars(select(Token)) if token.user.name == name]
    assert "kept" in names
    assert len([name for name in names if name.startswith("browser-")]) == 1

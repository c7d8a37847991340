"""Secrets are replaced while the old ones still count: keys of session cookies, the token for metrics, secrets of webhooks."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from base64 import b64encode
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from itsdangerous import BadSignature, TimestampSigner
from pydantic import SecretStr

from app.accounts import users
from app.feedback.messages import signature
from app.web.sessions import COOKIE, KEY_FILE
from tests.app.feedback.receiver import Receiver
from tests.app.service import ROOT, Service, npy, until

if TYPE_CHECKING:
    from tests.app.benchmarks import Example

pytestmark = pytest.mark.server

GUIDE = (ROOT / "docs/how-to/operate.md").read_text(encoding="utf-8")

NEW, OLD, FOREIGN = (f"{name}-key-of-at-least-32-characters" for name in ("new", "old", "foreign"))
GITHUB = {"github_client_id": "id", "github_client_secret": SecretStr("secret")}
"""Settings with which `/sign-in/github` begins a session, without asking GitHub."""


def _cookie(service: Service, key: str) -> str:
    """Return the cookie of a signed-in user, signed with a key."""
    with service.database.write() as session:
        user = users.add_user(session, "ada")
        content = {"user": user.id, "generation": user.session_generation, "form": "form"}
    return TimestampSigner(key).sign(b64encode(json.dumps(content).encode())).decode()


def _is_signed_in(service: Service, cookie: str) -> bool:
    answer = httpx.get(f"{service.url}/account", cookies={COOKIE: cookie}, trust_env=False)
    assert answer.status_code in {200, 303}
    return answer.status_code == 200


def _signs_with(service: Service, key: str) -> bool:
    """Return whether a server signs new cookies with a key."""
    with httpx.Client(trust_env=False) as browser:
        assert browser.get(f"{service.url}/sign-in/github").is_redirect
        try:
            TimestampSigner(key).unsign(browser.cookies[COOKIE])
        except BadSignature:
            return False
    return True


def test_users_stay_signed_in_while_the_key_in_the_file_is_replaced(tmp_path: Path) -> None:
    with closing(Service(tmp_path, data_dir=tmp_path / ".ldsboard", **GITHUB)) as service:
        file = service.settings.data_dir / KEY_FILE
        # Of several servers, all know the new key before one of them signs with it.
        file.write_text(f"{OLD}\n{NEW}\n")
        service.start()
        cookies = [_cookie(service, key) for key in (OLD, NEW, FOREIGN)]
        assert [_is_signed_in(service, cookie) for cookie in cookies] == [True, True, False]
        assert [_signs_with(service, key) for key in (OLD, NEW)] == [True, False]
        service.stop()

        (commands,) = re.findall(r"^```bash\n(umask.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        subprocess.run(["/bin/bash", "-ec", commands], cwd=tmp_path, env=os.environ | {"PATH": path}, check=True)
        made, *kept = file.read_text().split()
        assert (kept, file.stat().st_mode & 0o777) == ([OLD, NEW], 0o600)
        service.start()
        assert all(_is_signed_in(service, cookie) for cookie in (*cookies[:2], _cookie(service, made)))
        assert [_signs_with(service, key) for key in (made, OLD)] == [True, False]


def test_two_keys_and_two_tokens_in_the_settings(tmp_path: Path) -> None:
    tokens = SecretStr(f"{NEW}, {OLD}")
    with Service(tmp_path, session_key=SecretStr(f"{NEW},{OLD}"), metrics_token=tokens, **GITHUB) as service:
        assert [_is_signed_in(service, _cookie(service, key)) for key in (NEW, OLD, FOREIGN)] == [True, True, False]
        assert [_signs_with(service, key) for key in (NEW, OLD)] == [True, False]
        statuses = [
            service.client.get(f"{service.url}/metrics", headers={"Authorization": f"Bearer {token}"}).status_code
            for token in (NEW, OLD, FOREIGN, f"{NEW}, {OLD}")
        ]
        assert statuses == [200, 200, 401, 401]
        assert not (service.settings.data_dir / KEY_FILE).exists()
        assert not any(key in service.log.read_text() for key in (NEW, OLD))


def test_secret_of_a_webhook_is_replaced_without_a_missing_call(tmp_path: Path, toy: Example) -> None:
    with Service(tmp_path, webhook_hosts="localhost") as service, Receiver() as receiver:
        service.publish(toy.folder)
        token = service.token("ada")
        headers = {"Authorization": f"Bearer {token}"}

        def register(path: str) -> tuple[int, str]:
            url = f"http://localhost:{receiver.port}{path}"
            made = service.client.post("/webhooks", json={"url": url}, headers=headers).json()
            return made["id"], made["secret"]

        def called(method: str, secrets: dict[str, str]) -> bool:
            """Send a file, and return whether each path gets a call that its secret signs."""
            earlier = len(receiver.received)
            sent = service.submit_and_score(token, "toy", npy(toy.scores(seed=len(method))), method=method)["id"]
            until(lambda: len(receiver.received) == earlier + len(secrets), "the calls")
            for call in receiver.received[earlier:]:
                stated = [call.headers[f"Webhook-{name}"] for name in ("Id", "Timestamp", "Signature")]
                if signature(secrets[call.path], stated[0], stated[1], call.body) != stated[2]:
                    return False
                assert json.loads(call.body)["data"]["id"] == sent
            return True

        first, old = register("/ldsboard")
        assert called("a", {"/ldsboard": old})
        _, new = register("/ldsboard?key=2")
        assert called("bb", {"/ldsboard": old, "/ldsboard?key=2": new})
        assert service.client.delete(f"/webhooks/{first}", headers=headers).is_success
        assert called("ccc", {"/ldsboard?key=2": new})

"""The calls of a user who trusts a CI workflow, and of its runs, on a running server."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

    from tests.app.oidc.provider import CiProvider
    from tests.app.service import Service

JSON = dict[str, Any]


class Ci:
    """A user with a trusted workflow for the method "ours", and the calls of its runs."""

    def __init__(self, service: Service, provider: CiProvider, name: str) -> None:
        self.service, self.provider, self.name = service, provider, name
        digest = hashlib.sha256(name.encode()).digest()
        self.address = f"10.{digest[0]}.{digest[1]}.{digest[2]}"
        self.audience = service.client.get("/oidc/audience").json()["audience"]
        self.token = service.token(name, ranked_per_day=1000, ranked_per_version=1000)
        self.fields = {
            "method": "ours",
            "issuer": provider.github,
            "repository": "octo-org/octo-repo",
            "repository_id": "74",
            "owner_id": "65",
            "workflow": ".github/workflows/lds.yml",
        }

    def call(self, method: str, path: str, token: str | None = None, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token or self.token}"}
        return self.service.client.request(method, path, headers=headers, **options)

    def register(self, **changes: Any) -> JSON:
        created = self.call("POST", "/publishers", json=self.fields | changes)
        assert created.status_code == 201, created.text
        view: JSON = created.json()
        return view

    def identity_token(self, **changes: Any) -> str:
        return self.provider.sign(self.provider.github_claims(self.audience, **changes))

    def exchange(self, token: str, **changes: Any) -> httpx.Response:
        body = {"token": token, "method": "ours", "owner": self.name} | changes
        return self.service.client.post("/oidc/mint-token", json=body, headers={"X-Forwarded-For": self.address})

    def mint(self, **changes: Any) -> str:
        answer = self.exchange(self.identity_token(**changes))
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])

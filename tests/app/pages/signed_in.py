"""A signed-in user and the actions of this user on the pages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx

from tests.app.service import npy

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.service import Service


class SignedInUser:
    """An HTTP client with the session cookie of the provider's current user."""

    def __init__(self, service: Service) -> None:
        self.service = service
        headers = {"Accept": "text/html"}
        self.client = httpx.Client(base_url=service.url, headers=headers, follow_redirects=True, trust_env=False)
        page = self.client.get("/sign-in/oidc")
        if page.url.path != "/account":
            self.client.close()  # an open client would raise a warning in a later test
            raise AssertionError(page.text)
        (self.name,) = re.findall("<h1>(.*?)</h1>", page.text)

    def csrf_token(self) -> str:
        """Return the CSRF token of this session, which all forms contain."""
        (csrf_token,) = set(re.findall(r'name="form" value="([^"]+)"', self.client.get("/account").text))
        return str(csrf_token)

    def submit_token(self, csrf_token: str) -> httpx.Response:
        """Request the token with which the submit page starts an upload."""
        return self.client.post(
            "/account/submit-token", data={"form": csrf_token}, headers={"Accept": "application/json"}
        )

    def post(self, path: str, **fields: str) -> httpx.Response:
        """Send a form of the account page for a submission, with the CSRF token."""
        return self.client.post(f"/account/submissions/{path}", data={"form": self.csrf_token()} | fields)

    def send(self, example: Example, method: str, noise: float = 0.5, **query: str) -> str:
        """Send a file to the API with a token of this user; return the submission's id once it is scored."""
        token = self.service.token(self.name)
        return str(
            self.service.submit_and_score(token, example.name, npy(example.scores(noise)), method=method, **query)["id"]
        )

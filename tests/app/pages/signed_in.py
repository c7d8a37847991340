"""Somebody who is signed in, and what they do on the pages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import httpx

from tests.app.service import npy

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.service import Service


class SignedIn:
    """A browser with the cookie of whoever the provider of a server signs in now."""

    def __init__(self, service: Service) -> None:
        self.service = service
        headers = {"Accept": "text/html"}
        self.client = httpx.Client(base_url=service.url, headers=headers, follow_redirects=True, trust_env=False)
        page = self.client.get("/sign-in/oidc")
        if page.url.path != "/account":
            self.client.close()  # open, it would fail whichever test runs when it is collected
            raise AssertionError(page.text)
        (self.name,) = re.findall("<h1>(.*?)</h1>", page.text)

    def form(self) -> str:
        """Return what the forms of this session carry."""
        (form,) = set(re.findall(r'name="form" value="([^"]+)"', self.client.get("/account").text))
        return str(form)

    def submit_token(self, form: str) -> httpx.Response:
        """Ask for the token with which a page starts an upload."""
        return self.client.post("/account/submit-token", data={"form": form}, headers={"Accept": "application/json"})

    def post(self, path: str, **fields: str) -> httpx.Response:
        """Send a form on a submission."""
        return self.client.post(f"/account/submissions/{path}", data={"form": self.form()} | fields)

    def send(self, example: Example, method: str, noise: float = 0.5, **query: str) -> str:
        """Return the id of a file that was sent, by the API and with a token of one's own, and scored."""
        token = self.service.token(self.name)
        return str(self.service.submit_and_score(token, example.name, npy(example.scores(noise)), method=method, **query)["id"])

"""A user who fills the server's disk as fast as the API allows: every text has its longest value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.app.multipart_upload import MultipartUpload
from tests.app.pages.signed_in import SignedInUser
from tests.app.service import npy

if TYPE_CHECKING:
    import httpx

    from tests.app.oidc.provider import CiProvider
    from tests.app.pages.provider import Provider
    from tests.app.service import Service

WIDE = "\N{GRINNING FACE}"
"""A character of 4 bytes in UTF-8, and of 12 bytes in JSON and in the address of a page."""

METHOD = "m" * 64

HELD, REPEATED = 10**9, 10**8
"""Number of the upload that stays under way, and seed of the file that is sent again."""

LONGEST: dict[str, Any] = {
    "title": WIDE * 200,
    "description": WIDE * 2000,
    "tags": [f"{number}{'x' * 31}" for number in range(8)],
}


LINKS = dict.fromkeys(("paper", "code"), f"https://e.org/{WIDE * 486}")


def provenance(number: int) -> dict[str, str | int]:
    return {
        "repository": WIDE * 200,
        "commit": f"{number:064x}",
        "branch": WIDE * 255,
        "number": 2**31 - 1,
        "provider": "forgejo",
        "url": f"https://e.org/{WIDE * 486}",
    }


def key(number: int) -> str:
    """Return an idempotency key of the longest length."""
    return f"{number:0200}"


OWNER = "worst"


@dataclass
class WorstUser:
    """One account that uses a server as wastefully as the API allows."""

    service: Service
    provider: Provider
    token: str
    shape: tuple[int, int]
    submission_ids: list[str]
    ci_provider: CiProvider
    held: MultipartUpload | None = None
    """An upload that stays under way."""

    def content(self, seed: int) -> bytes:
        return npy(np.random.default_rng(seed).normal(size=self.shape).astype(np.float16))

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        response = self.service.client.request(method, path, headers=headers, **options)
        assert response.is_success, response.text
        return response

    def upload(self, number: int, kind: str, seed: int) -> MultipartUpload:
        fields = LONGEST | LINKS | {"kind": kind, "provenance": provenance(number), "cost": {"device": WIDE * 100}}
        upload = MultipartUpload(self.service, self.token, "worst", self.content(seed), method=METHOD, **fields)
        response = upload.start(key(number))
        assert response.status_code == 201, response.text
        self.submission_ids.append(upload.id)
        return upload

    def begin_and_cancel(self, number: int) -> None:
        upload = self.upload(number, "practice", number)
        assert upload.put_part(0).status_code == 200
        self.call("DELETE", f"/submissions/{upload.id}/parts")

    def send_wrong_hash(self, number: int) -> None:
        sent = self.single(number, self.content(0), sha256="0" * 64)
        assert sent.json()["code"] == "upload.hash", sent.text

    def send_again(self, number: int) -> None:
        sent = self.single(number, self.content(REPEATED))
        assert sent.status_code == 202, sent.text

    def single(self, number: int, content: bytes, **query: str) -> httpx.Response:
        fields = LONGEST | LINKS | {"method": METHOD, "kind": "practice", "device": WIDE * 100}
        fields |= provenance(number) | query
        headers = {"Authorization": f"Bearer {self.token}", "Idempotency-Key": key(number)}
        return self.service.client.put("/benchmarks/worst/submissions", params=fields, content=content, headers=headers)

    def submit(self, number: int, kind: str) -> None:
        upload = self.upload(number, kind, number)
        upload.put_all_parts()
        assert upload.complete().status_code == 202
        assert self.service.wait_until_final(upload.id)["state"] == "scored"

    def edit(self, number: int) -> None:
        self.call("PATCH", f"/submissions/{self.submission_ids[number]}", json=LONGEST | LINKS)

    def create_and_revoke_token(self, _number: int) -> None:
        wanted = {"name": WIDE * 64, "scopes": ["submit", "manage"]}
        self.call("DELETE", f"/tokens/{self.call('POST', '/tokens', json=wanted).json()['id']}")

    def fill_webhooks(self) -> None:
        """Add as many webhooks as a user may have, less one, at a closed port: every call waits for retries."""
        for number in range(self.service.settings.webhooks_per_user - 1):
            self.call("POST", "/webhooks", json={"url": f"https://localhost:1/{number}{'x' * 470}"})

    def add_and_remove_webhook(self, number: int) -> None:
        added = self.call("POST", "/webhooks", json={"url": f"https://localhost:1/{number:0470}"}).json()
        self.call("DELETE", f"/webhooks/{added['id']}")

    def make_and_withdraw_review_link(self, _number: int) -> None:
        """Make and withdraw a link of the last submission, which must be scored."""
        address = f"/submissions/{self.submission_ids[-1]}/review-link"
        self.call("POST", address)
        self.call("DELETE", address)

    def workflow(self, **fields: str) -> dict[str, str]:
        """Return the fields of a publisher with the longest values, for the method of this user."""
        wide = {"environment": WIDE * 255, "branch": WIDE * 255, "repository": f"o/{WIDE * 198}"}
        wide["called_workflow"] = f"o/r/.github/workflows/{WIDE * 474}.yml"
        path = {"workflow": f".github/workflows/{WIDE * 233}.yml", "issuer": self.ci_provider.github}
        return wide | path | {"method": METHOD, "repository_id": "9" * 20, "owner_id": "9" * 20} | fields

    def trust_workflow(self) -> None:
        """Trust the workflow whose identities `exchange_identity` exchanges."""
        empty = {"environment": "", "branch": "", "called_workflow": ""}
        self.call("POST", "/publishers", json=self.workflow(repository_id="74", owner_id="65", **empty))

    def trust_and_remove_workflow(self, _number: int) -> None:
        added = self.call("POST", "/publishers", json=self.workflow()).json()
        self.call("DELETE", f"/publishers/{added['id']}")

    def exchange_identity(self, number: int) -> None:
        repository, audience = f"o/{WIDE * 98}", self.service.client.get("/oidc/audience").json()["audience"]
        workflow = f"{repository}/.github/workflows/{WIDE * 233}.yml@refs/heads/main"
        claims = self.ci_provider.github_claims(
            audience,
            repository=repository,
            environment=WIDE * 255,
            head_ref=WIDE * 255,
            ref=f"refs/pull/{number + 1}/merge",
            workflow_ref=workflow,
            job_workflow_ref=workflow,
        )
        wanted = {"token": self.ci_provider.sign(claims), "method": METHOD, "owner": OWNER}
        self.call("POST", "/oidc/mint-token", json=wanted)

    def withdraw(self, number: int) -> None:
        upload = self.upload(number, "practice", 0)
        self.call("DELETE", f"/submissions/{upload.id}")

    def send_part_again(self, _number: int) -> None:
        assert self.held_upload().put_part(0).status_code == 200

    def start_again(self, _number: int) -> None:
        assert self.held_upload().start(key(HELD)).status_code == 201

    def held_upload(self) -> MultipartUpload:
        self.held = self.held or self.upload(HELD, "practice", 0)
        return self.held

    def dry_run(self, number: int) -> None:
        assert self.single(number, self.content(0), dry_run="true").status_code == 200

    def check(self, _number: int) -> None:
        content = self.content(0)
        self.call("POST", f"/benchmarks/worst/check?size={len(content)}", content=content[: 1 << 16])

    def sign_in_and_out(self, _number: int) -> None:
        self.provider.sign_in("worst", "worst")
        signed_in = SignedInUser(self.service)
        signed_in.client.post("/sign-out", data={"form": signed_in.csrf_token()})
        signed_in.client.close()

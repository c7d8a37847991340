"""Multipart uploads as a client makes them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tests.app.service import npy

if TYPE_CHECKING:
    import httpx

    from app.submissions.storage import Storage
    from tests.app.benchmarks import Example
    from tests.app.service import Service


def float64_file(example: Example, seed: int = 0) -> bytes:
    """Return float64 scores as a score file; for the benchmark "wide" it makes three upload parts of the smallest size."""
    return npy(example.scores(seed=seed).astype(np.float64))


def stored_uploads(service: Service) -> list[str]:
    """Return the names of the folders and files in which uploads arrive; a folder is named after its submission."""
    return [path.name for path in (service.settings.storage_dir / "arriving").iterdir()]


def read_parts(storage: Storage, upload: str, hashes: list[str]) -> bytes:
    """Return the bytes of the upload parts with these SHA-256, one after the other."""
    keys = [storage.part_key(upload, number, sha256) for number, sha256 in enumerate(hashes)]
    return b"".join(chunk for key in keys for chunk in storage.read(key))


class MultipartUpload:
    """A multipart upload of one file: an account token starts it, its upload token authorizes the other calls."""

    def __init__(self, service: Service, token: str, benchmark: str, content: bytes, **fields: Any) -> None:
        self.service = service
        self.content = content
        self.token = token
        self.fields: dict[str, Any] = {"benchmark": benchmark, "method": "ours", "size": len(content)} | fields
        self.fields.setdefault("sha256", hashlib.sha256(content).hexdigest())
        self.view: dict[str, Any] = {}

    def start(self, key: str | None = None) -> httpx.Response:
        """Start the upload, with an idempotency key if one is given."""
        headers = {"Authorization": f"Bearer {self.token}"} | ({"Idempotency-Key": key} if key else {})
        response = self.service.client.post("/submissions", json=self.fields, headers=headers)
        if response.is_success:
            self.view = response.json()
        return response

    def started(self) -> Self:
        """Start the upload and return it."""
        response = self.start()
        assert response.status_code == 201, response.text
        return self

    @property
    def id(self) -> str:
        """The submission's id."""
        return str(self.view["id"])

    @property
    def authorization(self) -> dict[str, str]:
        """The Authorization header with the upload token."""
        return {"Authorization": f"Bearer {self.view['capability']}"}

    def part_content(self, number: int) -> bytes:
        """Return the bytes of an upload part."""
        part = self.view["parts"][number]
        return self.content[part["offset"] : part["offset"] + part["size"]]

    def put_part(self, number: int, body: bytes | None = None, **headers: str) -> httpx.Response:
        """Send an upload part, with another body if one is given."""
        content = self.part_content(number) if body is None else body
        address = f"{self.service.url}{self.view['parts'][number]['url']}"
        return self.service.client.put(address, content=content, headers=self.authorization | headers)

    def put_all_parts(self) -> None:
        """Send all parts, the last part first."""
        for part in reversed(self.view["parts"]):
            response = self.put_part(part["number"])
            assert response.status_code == 200, response.text

    def status(self) -> dict[str, Any]:
        """Return the server's view of the upload and its parts."""
        response = self.service.client.get(f"/submissions/{self.id}/parts", headers=self.authorization)
        assert response.status_code == 200, response.text
        view: dict[str, Any] = response.json()
        return view

    def received_parts(self) -> list[int]:
        """Return the numbers of the parts that the server has received."""
        return [part["number"] for part in self.status()["parts"] if part["received"]]

    def complete(self) -> httpx.Response:
        """Complete the upload."""
        return self.service.client.post(f"/submissions/{self.id}/complete", headers=self.authorization)

    def submit_and_score(self) -> dict[str, Any]:
        """Start, send and complete the upload; return its submission once it is scored."""
        self.started().put_all_parts()
        response = self.complete()
        assert response.status_code == 202, response.text
        view = self.service.wait_until_final(response.json()["id"])
        assert view["state"] == "scored", view
        return view

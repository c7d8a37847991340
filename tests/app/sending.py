"""Uploads in parts, as a client makes them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

    from tests.app.service import Service


class Sending:
    """An upload in parts of one content, started by a user's token and sent by its capability."""

    def __init__(self, service: Service, token: str, benchmark: str, content: bytes, **said: Any) -> None:
        self.service = service
        self.content = content
        self.token = token
        self.said: dict[str, Any] = {"benchmark": benchmark, "method": "ours", "size": len(content)} | said
        self.said.setdefault("sha256", hashlib.sha256(content).hexdigest())
        self.view: dict[str, Any] = {}

    def begin(self, key: str | None = None) -> httpx.Response:
        """Make the call that starts the upload."""
        headers = {"Authorization": f"Bearer {self.token}"} | ({"Idempotency-Key": key} if key else {})
        response = self.service.client.post("/submissions", json=self.said, headers=headers)
        if response.is_success:
            self.view = response.json()
        return response

    def started(self) -> Sending:
        """Return this upload once it is started."""
        response = self.begin()
        assert response.status_code == 201, response.text
        return self

    @property
    def id(self) -> str:
        """The submission's id."""
        return str(self.view["id"])

    @property
    def capability(self) -> dict[str, str]:
        """The header that lets the parts be sent."""
        return {"Authorization": f"Bearer {self.view['capability']}"}

    def bytes_of(self, number: int) -> bytes:
        """Return the bytes of a part."""
        part = self.view["parts"][number]
        return self.content[part["offset"] : part["offset"] + part["size"]]

    def put(self, number: int, body: bytes | None = None, **headers: str) -> httpx.Response:
        """Send a part."""
        content = self.bytes_of(number) if body is None else body
        address = f"{self.service.url}{self.view['parts'][number]['url']}"
        return self.service.client.put(address, content=content, headers=self.capability | headers)

    def put_all(self) -> None:
        """Send all parts, the last one first."""
        for part in reversed(self.view["parts"]):
            response = self.put(part["number"])
            assert response.status_code == 200, response.text

    def parts(self) -> dict[str, Any]:
        """Return what the server says of the parts."""
        response = self.service.client.get(f"/submissions/{self.id}/parts", headers=self.capability)
        assert response.status_code == 200, response.text
        view: dict[str, Any] = response.json()
        return view

    def received(self) -> list[int]:
        """Return the numbers of the parts that the server has."""
        return [part["number"] for part in self.parts()["parts"] if part["received"]]

    def complete(self) -> httpx.Response:
        """Make the call that ends the upload."""
        return self.service.client.post(f"/submissions/{self.id}/complete", headers=self.capability)

    def scored(self) -> dict[str, Any]:
        """Send everything and return the scored submission."""
        self.started().put_all()
        response = self.complete()
        assert response.status_code == 202, response.text
        view = self.service.settled(response.json()["id"])
        assert view["state"] == "scored", view
        return view

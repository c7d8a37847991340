"""Multipart uploads whose parts a client sends straight to the store."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx

from ldsboard.formats.score_files import HEADER_LIMIT
from tests.app.multipart_upload import MultipartUpload
from tests.app.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.openstack_swift import Swift


@contextmanager
def direct_service(swift: Swift, folder: Path, example: Example) -> Iterator[Service]:
    """A server whose clients can reach its store; a float64 file of the benchmark "wide" has three upload parts."""
    settings = swift.settings(folder.name) | {"part_bytes": HEADER_LIMIT, "storage_public_url": swift.url}
    with Service(folder, **settings) as running:
        running.publish(example.folder)
        yield running
        log = running.log.read_text()
        assert "Traceback" not in log
        assert "X-Amz-Signature" not in log


class DirectUpload(MultipartUpload):
    """An upload whose parts go straight to the store."""

    def call(self, number: int, step: str, sha256: str | None = None) -> httpx.Response:
        """Ask for the address of a part, or state that the part has arrived."""
        known = sha256 or hashlib.sha256(self.part_content(number)).hexdigest()
        address = f"/submissions/{self.id}/parts/{number}/{step}"
        return self.service.client.post(address, json={"sha256": known}, headers=self.authorization)

    def put(self, url: str, content: bytes, **headers: str) -> httpx.Response:
        """Send bytes to the store, without any token."""
        with httpx.Client(trust_env=False) as plain:
            return plain.put(url, content=content, headers=headers)

    def send(self, number: int) -> None:
        """Send a part, and state that it has arrived."""
        url = self.call(number, "address").json()["url"]
        assert self.put(url, self.part_content(number)).is_success
        arrived = self.call(number, "arrived")
        assert (arrived.status_code, arrived.json()["received"]) == (200, True), arrived.text

"""Response models of uploads, upload parts and dry runs."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

StateName = Literal["uploading", "queued", "scoring", "scored", "rejected", "failed", "expired", "withdrawn"]


class BenchmarkName(BaseModel):
    """Name and version of a benchmark."""

    name: str
    version: int


class PartView(BaseModel):
    """An upload part: the ``size`` bytes of the file that begin at ``offset``; the client sends these bytes to ``url``."""

    number: int
    offset: int
    size: int
    url: str
    received: bool
    sha256: str | None = Field(description="SHA-256 of the received bytes; null before they are received")


class UploadView(BaseModel):
    """A multipart upload: the announced file, and the state of each upload part."""

    id: str
    state: StateName
    size: int
    sha256: str
    part_bytes: int
    expires_at: datetime = Field(description="when the upload and its upload token expire")
    direct: bool = Field(description="whether upload parts can be sent straight to the store, see POST …/address")
    parts: list[PartView]
    links: dict[str, str]


class PartAddress(BaseModel):
    """Where to send an upload part in the store of the server, with PUT and without a token."""

    url: str
    expires_at: datetime = Field(description="when the address expires")


class StartedView(UploadView):
    """A multipart upload that was just started, with its upload token."""

    capability: str = Field(description="upload token: a bearer token for this upload alone, shown only once")


class DryRunView(BaseModel):
    """The result of a dry run: the file would be accepted. Nothing was stored."""

    benchmark: BenchmarkName
    method: str
    kind: Literal["ranked", "practice"]
    size: int
    sha256: str

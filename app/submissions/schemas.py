"""Response models of uploads: what the API tells of an upload, its parts and a dry run."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

StateName = Literal["uploading", "queued", "scoring", "scored", "rejected", "failed", "expired", "withdrawn"]


class BenchmarkName(BaseModel):
    """Which version of which benchmark."""

    name: str
    version: int


class PartView(BaseModel):
    """A part of an upload: which bytes of the file it is, and where to send them."""

    number: int
    offset: int
    size: int
    url: str
    received: bool
    sha256: str | None = Field(description="of the bytes that have arrived")


class UploadView(BaseModel):
    """An upload in parts: what was announced, and which parts have arrived."""

    id: str
    state: StateName
    size: int
    sha256: str
    part_bytes: int
    expires_at: datetime = Field(description="when it is given up, and its capability ends")
    parts: list[PartView]
    links: dict[str, str]


class StartedView(UploadView):
    """An upload that was just started."""

    capability: str = Field(description="bearer token for this upload alone, shown only this once")


class DryRunView(BaseModel):
    """A file that would have been accepted; nothing of it was kept."""

    benchmark: BenchmarkName
    method: str
    kind: Literal["ranked", "practice"]
    size: int
    sha256: str

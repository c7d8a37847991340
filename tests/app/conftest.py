"""Fixtures of several modules: the service without a server, and a server with small upload parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ldsboard.formats.score_files import HEADER_LIMIT
from tests.app.harness import ServiceHarness
from tests.app.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from app.db.sessions import Database
    from tests.app.benchmarks import Example


@pytest.fixture(scope="session")
def small_part_service(tmp_path_factory: pytest.TempPathFactory, wide: Example) -> Iterator[Service]:
    """A server with small upload parts, so that a score file of the wide benchmark has three parts."""
    with Service(
        tmp_path_factory.mktemp("small-parts"), part_bytes=HEADER_LIMIT, max_upload_bytes=1_000_000
    ) as running:
        running.publish(wide.folder)
        yield running


@pytest.fixture
def harness(database: Database, tmp_path: Path, toy: Example) -> Iterator[ServiceHarness]:
    """A database, a storage folder and the toy benchmark, without a server."""
    opened = ServiceHarness(database, tmp_path, toy)
    yield opened
    opened.sandbox.stop()

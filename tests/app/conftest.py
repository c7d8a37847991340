"""What tests of several modules share: parts of a service without a server, and a server that takes small parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ldsboard.formats import HEADER_LIMIT
from tests.app.harness import Desk
from tests.app.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from app.db.sessions import Database
    from tests.app.benchmarks import Example


@pytest.fixture(scope="session")
def parted(tmp_path_factory: pytest.TempPathFactory, wide: Example) -> Iterator[Service]:
    """A server on which score files of a wide benchmark have three parts."""
    with Service(tmp_path_factory.mktemp("parted"), part_bytes=HEADER_LIMIT, max_upload_bytes=1_000_000) as running:
        running.publish(wide.folder)
        yield running


@pytest.fixture
def desk(database: Database, tmp_path: Path, toy: Example) -> Iterator[Desk]:
    """A database, files and a benchmark, without a server."""
    opened = Desk(database, tmp_path, toy)
    yield opened
    opened.scorer.stop()

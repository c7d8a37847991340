"""What tests without a server share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.app.desk import Desk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from app.db.sessions import Database
    from tests.app.benchmarks import Example


@pytest.fixture
def desk(database: Database, tmp_path: Path, toy: Example) -> Iterator[Desk]:
    """A database, files and a benchmark, without a server."""
    opened = Desk(database, tmp_path, toy)
    yield opened
    opened.scorer.stop()

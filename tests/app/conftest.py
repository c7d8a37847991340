"""Fixtures of several modules: the service without a server, servers with other settings, and a folder for a backup."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from app.web import connections as connections_module
from app.web.connections import Connections
from ldsboard.formats.score_files import HEADER_LIMIT
from tests.app.guarded_server import GuardedServer
from tests.app.harness import ServiceHarness
from tests.app.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
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
    opened.close()


@pytest.fixture
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for a backup, outside of the data folder."""
    return tmp_path_factory.mktemp("elsewhere") / "backup"


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., GuardedServer]]:
    """Return a function that starts a server whose constants have other values."""
    monkeypatch.setattr(connections_module, "SWEEP_SECONDS", 0.02)
    started = []

    def start(*, per_address: int = 100, total: int = 1000, exempt: str = "", **constants: Any) -> GuardedServer:
        for name, value in constants.items():
            monkeypatch.setattr(connections_module, name, value)
        server = GuardedServer(Connections(per_address, total, lambda address: address == exempt))
        started.append(server.running())
        return started[-1].__enter__()

    yield start
    for server in started:
        server.__exit__(None, None, None)

"""One server that most tests share, and the benchmarks that it offers. `tests/conftest.py` says which folders get these."""

from __future__ import annotations

from shutil import copy
from typing import TYPE_CHECKING

import pytest

from app.db.migration import upgrade
from app.db.sessions import Database
from tests.app.benchmarks import write_benchmark
from tests.app.service import Service
from tests.conftest import MAX_UPLOAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.app.benchmarks import Example


SERVERS = {"board", "busy", "empty", "fuzzed", "parted", "service", "site", "sound", "tight"}
"""Fixtures that start a server."""


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that ask a server, which `make test-fast` leaves out."""
    for item in items:
        if SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.server)


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Example:
    """A protected benchmark: 60 examples, 7 targets, 40 public and 120 hidden subsets."""
    return write_benchmark(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def open_toy(tmp_path_factory: pytest.TempPathFactory) -> Example:
    """The same with nothing hidden."""
    return write_benchmark(tmp_path_factory.mktemp("open"), "open-toy", split="open")


@pytest.fixture(scope="session")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Example:
    """A benchmark whose score files, in float64, have three parts of the smallest size."""
    return write_benchmark(tmp_path_factory.mktemp("wide"), "wide", n=600, N=40)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, toy: Example, open_toy: Example) -> Iterator[Service]:
    """A running server with both benchmarks."""
    with Service(tmp_path_factory.mktemp("service"), max_upload_bytes=MAX_UPLOAD_BYTES) as running:
        running.publish(toy.folder)
        running.publish(open_toy.folder)
        yield running


@pytest.fixture
def token(service: Service) -> str:
    """A token of a user with a large quota."""
    return service.token("alice", ranked_per_day=1000, ranked_per_version=1000)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an empty, migrated database, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "empty.sqlite3"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def database(migrated: Path, tmp_path: Path) -> Iterator[Database]:
    """A fresh, migrated database."""
    opened = Database(f"sqlite:///{copy(migrated, tmp_path / 'fresh.sqlite3')}")
    yield opened
    opened.close()

"""The server that most tests share, and its benchmarks. `tests/conftest.py` selects the folders that load these fixtures."""

from __future__ import annotations

from shutil import copy
from typing import TYPE_CHECKING

import pytest

from app.db.migration import upgrade
from app.db.sessions import Database
from tests.app.benchmarks import write_benchmark, write_trainable
from tests.app.service import Service
from tests.conftest import MAX_UPLOAD_BYTES
from tests.openstack_swift import Swift
from tests.postgresql import running_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.postgresql import Cluster


SERVERS = {
    "board",
    "empty_service",
    "fuzzed_service",
    "intact_service",
    "limited_service",
    "measured_service",
    "oidc_service",
    "service",
    "sign_in_service",
    "site",
    "small_part_service",
    "swift",
    "upload_service",
}
"""Fixtures that start a server."""


@pytest.hookimpl(tryfirst=True)  # before pytest selects tests by markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use a server; `make test-fast` skips them."""
    for item in items:
        if SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.server)


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Example:
    """A protected benchmark: 60 examples, 7 targets, 40 public and 120 hidden subsets."""
    return write_benchmark(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def open_toy(tmp_path_factory: pytest.TempPathFactory) -> Example:
    """An open benchmark of the same size: 160 public subsets."""
    return write_benchmark(tmp_path_factory.mktemp("open"), "open-toy", split="open")


@pytest.fixture(scope="session")
def trainable(tmp_path_factory: pytest.TempPathFactory) -> Example:
    """A benchmark with the name toy whose models can be trained again; the others have no real recipe."""
    return write_trainable(tmp_path_factory.mktemp("trainable"))


@pytest.fixture(scope="session")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Example:
    """A benchmark whose float64 score files make three upload parts of the smallest size."""
    return write_benchmark(tmp_path_factory.mktemp("wide"), "wide", n=600, N=40)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, toy: Example, open_toy: Example) -> Iterator[Service]:
    """A running server with the benchmarks toy and open-toy."""
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
    """The file of an empty, migrated database, which tests copy."""
    path = tmp_path_factory.mktemp("migrated") / "empty.sqlite3"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL cluster."""
    with running_cluster() as running:
        yield running


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    """An S3-compatible store. A test that kills it starts it again."""
    with Swift(tmp_path_factory.mktemp("swift")) as running:
        yield running


@pytest.fixture
def backend() -> str:
    """The kind of database of a test: SQLite; `pytest_generate_tests` repeats tests with the mark ``database`` on PostgreSQL."""
    return "sqlite"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests with the mark ``database`` on SQLite and on PostgreSQL."""
    if "backend" in metafunc.fixturenames and metafunc.definition.get_closest_marker("database"):
        metafunc.parametrize("backend", ["sqlite", "postgresql"])


@pytest.fixture
def database(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A fresh, migrated database."""
    if backend == "sqlite":
        migrated = request.getfixturevalue("migrated")
        url = f"sqlite:///{copy(migrated, tmp_path / 'fresh.sqlite3')}"
    else:
        url = request.getfixturevalue("cluster").create()
    opened = Database(url)
    yield opened
    opened.close()

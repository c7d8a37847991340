"""Fixtures of the tests of CI identities: a provider, and a server that trusts it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from app.settings import Settings
from tests.app.oidc.exchange import Exchange
from tests.app.oidc.provider import CiProvider
from tests.app.oidc.runs import Ci
from tests.app.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from app.db.sessions import Database
    from tests.app.benchmarks import Example


@pytest.fixture(scope="session")
def shared_provider() -> Iterator[CiProvider]:
    with CiProvider() as provider:
        yield provider


@pytest.fixture
def provider(shared_provider: CiProvider) -> CiProvider:
    """The provider with its keys published and claims that begin now, whatever earlier tests changed and whenever they ran."""
    shared_provider.reset()
    return shared_provider


@pytest.fixture
def settings(provider: CiProvider, tmp_path: Path) -> Settings:
    """The settings of a server that trusts the provider."""
    return Settings.model_validate({"data_dir": tmp_path, "public_url": "https://board.example"} | provider.settings)


@pytest.fixture
def exchange(provider: CiProvider, settings: Settings, database: Database) -> Exchange:
    """A database and the functions of a server that verify and exchange identity tokens."""
    return Exchange(provider, settings, database)


@pytest.fixture(scope="session")
def oidc_service(
    tmp_path_factory: pytest.TempPathFactory, shared_provider: CiProvider, toy: Example
) -> Iterator[Service]:
    """A running server that trusts the provider, with the benchmark toy and low limits.

    Tests send X-Forwarded-For, so that each test has an address, and so a rate limit, of its own.
    """
    limits = {"publishers_per_user": 3, "mints_per_minute": 30, "trusted_proxies": "127.0.0.1"}
    with Service(tmp_path_factory.mktemp("oidc"), **shared_provider.settings, **limits) as running:
        running.publish(toy.folder)
        yield running


@pytest.fixture
def ci(oidc_service: Service, provider: CiProvider, request: pytest.FixtureRequest) -> Ci:
    """A user with the name of the test, so that tests do not share publishers."""
    name = hashlib.sha256(request.node.name.encode()).hexdigest()[:12]
    return Ci(oidc_service, provider, f"ci-{name}")

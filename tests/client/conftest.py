"""A user's shell, score file, and proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.client.http_proxy import HttpProxy
from tests.client.shell import Shell
from tests.client.uploads import Sender

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.app.service import Service


@pytest.fixture
def shell(
    service: Service, token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Shell:
    monkeypatch.setenv("LDSBOARD_SERVER", service.url)
    monkeypatch.setenv("LDSBOARD_TOKEN", token)
    monkeypatch.setenv("LDSBOARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr("ldsboard.client.PAUSE_SECONDS", 0)
    return Shell(monkeypatch, capsys)


@pytest.fixture
def proxy(service: Service, shell: Shell) -> Iterator[HttpProxy]:
    """A proxy before the server, which the commands of the shell use."""
    with HttpProxy(service.port) as running:
        shell.environment.setenv("LDSBOARD_SERVER", running.url)
        yield running


@pytest.fixture
def scores(toy: Example, tmp_path: Path) -> Path:
    path = tmp_path / "scores.npy"
    np.save(path, toy.scores())
    return path


@pytest.fixture
def sender(service: Service, shell: Shell, scores: Path) -> Iterator[Sender]:
    shell.environment.delenv("LDSBOARD_TOKEN")
    with HttpProxy(service.port) as proxy:
        yield Sender(service, proxy, scores)

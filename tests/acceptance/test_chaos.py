"""A short run of `tests.acceptance.chaos`, which ``make chaos`` runs in full."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.acceptance.chaos import Chaos
from tests.acceptance.scaled_chaos import ScaledChaos

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_server_kills_lose_no_submission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LDSBOARD_CACHE", str(tmp_path / "cache"))
    outcome = Chaos(tmp_path, files=18, clients=4, kills=3).run()
    assert outcome.errors == []
    assert (outcome.scored, outcome.kills) == (18, 3)


@pytest.mark.slow
def test_kills_of_any_process_of_the_scaled_topology_lose_no_submission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LDSBOARD_CACHE", str(tmp_path / "cache"))
    # With this seed: an outage of the store, PostgreSQL, a worker, a server.
    outcome = ScaledChaos(tmp_path, files=18, clients=4, kills=4, seed=3).run()
    assert outcome.errors == []
    assert (outcome.scored, outcome.kills) == (18, 4)

"""The Python sessions of the guide for Python that submit to a server and read a leaderboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tests.ldsboard.sessions import run_session, section

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.app.benchmarks import Example
    from tests.app.service import Service

PAGE = "how-to/use-from-python.md"


def test_session_with_a_server_shows_its_output(
    service: Service, token: str, toy: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LDSBOARD_SERVER", service.url)
    monkeypatch.setenv("LDSBOARD_TOKEN", token)
    monkeypatch.setenv("LDSBOARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CI", "false")  # the page describes a user's own machine
    np.save("scores.npy", toy.scores())
    code = section(PAGE, "Submit an array", "Read a leaderboard").replace("digits-mlp", "toy")
    assert run_session(code) == (0, 13)

"""The Compose file passes every setting to the server, and limits memory and processes to values that suffice for scoring."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.scoring.sandbox import limits
from app.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs/how-to/operate.md").read_text()
BASE_BYTES = 1 << 30
"""Memory of the server and of the ground truth of four benchmarks, as docs/how-to/operate.md states."""


@pytest.fixture
def server() -> dict[str, Any]:
    service: dict[str, Any] = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())["services"]["server"]
    return service


def _default(value: str) -> tuple[str, str]:
    """Return the name of the variable in a value such as ``${NAME:-default}``, and the default."""
    found = re.fullmatch(r"\$\{(\w+):-(.*)\}", value)
    assert found is not None, value
    return found[1], found[2]


def test_every_setting_of_the_file_env_reaches_the_server(server: dict[str, Any]) -> None:
    assert server["env_file"] == [{"path": ".env", "required": False}]
    assert "docker/.env" in GUIDE
    # Variables of `environment` replace those of the file, so each must be read from a variable of the same name.
    named = {name: _default(value) for name, value in server["environment"].items()}
    assert {name: variable for name, (variable, _) in named.items()} == {name: name for name in named}
    defaults = Settings()
    fields = {name.removeprefix("LDSBOARD_").lower(): value for name, (_, value) in named.items()}
    assert {"public_url", "trusted_proxies"} <= fields.keys()
    assert fields == {name: getattr(defaults, name) for name in fields}


def test_file_with_settings_is_ignored_by_git_and_not_part_of_the_image() -> None:
    assert "/docker/.env" in (ROOT / ".gitignore").read_text().splitlines()
    assert not any(line.startswith("!docker") and ".env" in line for line in _dockerignore())
    assert _dockerignore()[0] == "*"


def _dockerignore() -> list[str]:
    return (ROOT / ".dockerignore").read_text().splitlines()


def test_limits_suffice_for_scoring_with_the_default_settings(server: dict[str, Any]) -> None:
    variable, size = _default(server["mem_limit"])
    found = re.fullmatch(r"(\d+)g", size)
    assert found is not None
    settings = Settings()
    one_file = settings.max_upload_bytes + limits.SCORING_BYTES + limits.THREAD_BYTES
    assert int(found[1]) << 30 >= BASE_BYTES + settings.scoring_processes * one_file
    assert variable in GUIDE

    variable, count = _default(server["pids_limit"])
    # Otherwise a scoring process could take the last process of the server before it reaches its own limit.
    assert int(count) > limits.EXTRA_PROCESSES
    assert variable in GUIDE

"""The Compose file passes every setting to the server, and limits memory and processes to values that suffice for scoring."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.database_url import database_url
from app.scoring.sandbox import limits
from app.scoring.worker import STOP_SECONDS
from app.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs/how-to/operate.md").read_text()
SCALED: dict[str, Any] = yaml.safe_load((ROOT / "docker/compose.scaled.yaml").read_text())["services"]
FILLED = {
    name: value or "0" * 64
    for name, value in re.findall(r"^(\w+)=(.*)$", (ROOT / "docker/.env.example").read_text(), re.MULTILINE)
}
"""The variables of ``docker/.env.example``, filled in."""

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


@pytest.mark.parametrize("name", ["server", "worker", "migrate"])
def test_scaled_services_have_the_settings_of_the_scaled_mode(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    service = SCALED[name]
    environment = {
        variable: re.sub(r"\$\{(\w+):\?\}", lambda found: FILLED[found[1]], value)
        for variable, value in service["environment"].items()
    }
    for variable, value in (FILLED | environment).items():
        monkeypatch.setenv(variable, value)
    settings = Settings()
    assert settings.scoring_processes == 0
    assert database_url(settings.database_url).host == "postgres"
    assert settings.public_url == "https://board.example.org"
    assert settings.is_trusted_proxy("172.31.250.2")
    assert settings.bucket is not None
    assert settings.bucket.name == SCALED["store"]["environment"]["GARAGE_DEFAULT_BUCKET"]
    known = {str(field.validation_alias or f"LDSBOARD_{name.upper()}") for name, field in Settings.model_fields.items()}
    others = {"LDSBOARD_HOST", "LDSBOARD_DATABASE_PASSWORD", "GARAGE_RPC_SECRET"}
    assert (FILLED | environment).keys() - known == others
    assert others | {"LDSBOARD_SESSION_KEY"} <= FILLED.keys()


def test_scaled_store_has_the_address_the_region_and_the_key_of_the_servers() -> None:
    store = SCALED["store"]
    with (ROOT / "docker/garage.toml").open("rb") as file:
        garage = tomllib.load(file)
    assert "./garage.toml:/etc/garage.toml:ro" in store["volumes"]
    _, port = garage["s3_api"]["api_bind_addr"].split(":")
    assert FILLED["AWS_ENDPOINT_URL"] == f"http://store:{port}"
    assert FILLED["AWS_REGION"] == garage["s3_api"]["s3_region"]
    (folder,) = [volume.split(":")[1] for volume in store["volumes"] if volume.startswith("store:")]
    assert {Path(garage[name]).parent for name in ("data_dir", "metadata_dir")} == {Path(folder)}
    # There is no second copy of the files.
    assert (garage["replication_factor"], garage["data_fsync"], garage["metadata_fsync"]) == (1, True, True)
    assert store["environment"]["GARAGE_DEFAULT_ACCESS_KEY"] == "${AWS_ACCESS_KEY_ID:?}"
    assert store["environment"]["GARAGE_DEFAULT_SECRET_KEY"] == "${AWS_SECRET_ACCESS_KEY:?}"
    for name in ("server", "worker"):
        assert SCALED[name]["depends_on"]["store"] == {"condition": "service_healthy"}


def test_images_of_others_have_a_version() -> None:
    assert {name: service["image"] for name, service in SCALED.items() if "build" not in service} == {
        "postgres": "postgres:15-bookworm",
        "proxy": "caddy:2",
        "store": "dxflrs/garage:v2.4.1",
    }


def test_scaled_worker_has_memory_for_its_evaluations_and_time_to_stop() -> None:
    worker = SCALED["worker"]
    at_once = int(worker["command"][-1]) + 1  # one rescoring beside the first evaluations
    one_file = Settings().max_upload_bytes + limits.SCORING_BYTES + limits.THREAD_BYTES
    _, size = _default(worker["mem_limit"])
    assert int(size.removesuffix("g")) << 30 >= BASE_BYTES + at_once * one_file
    assert float(worker["stop_grace_period"].removesuffix("s")) > 2 * STOP_SECONDS
    assert worker["pids_limit"] > limits.EXTRA_PROCESSES


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

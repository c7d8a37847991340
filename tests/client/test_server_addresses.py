"""Addresses of servers and empty settings: broken addresses end in one line, and offline commands need no server."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from ldsboard import cache
from ldsboard.client import Client
from ldsboard.commands import exits
from ldsboard.manifest import BundleError
from tests.app.ports import reserved_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.app.service import Service
    from tests.client.shell import Shell

BROKEN = [
    "http://127.0.0.1:81x7",
    "http://[::1",
    "http://127.0.0.1:999999",
    "http://127.0.0.1:0",
    "http://",
    "http:///api",
    "https://a..b",
    "http://two words",
    "http://board.example/?page=1",
    "http://board.example/#page",
    "localhost:8000",
    "ftp://board.example",
    "board",
]


@pytest.mark.parametrize("address", BROKEN)
def test_broken_address_ends_every_command_in_one_line(shell: Shell, scores: Path, toy: Example, address: str) -> None:
    shell("pull", "toy")
    file, ids = str(scores), ("0123456789abcdef", "fedcba9876543210")
    for command in (
        ("leaderboard", "toy"),
        ("pull", "toy"),
        ("score", file, "toy"),
        ("validate", file, "toy"),
        ("compare", file, file, "--benchmark", "toy"),
        ("compare", *ids),
        ("status", ids[0]),
        ("submit", file, "toy", "--method", "x", "--kind", "practice"),
        ("submit", "--resume"),
    ):
        result = shell(*command, "--server", address)
        assert result.code == exits.USAGE, (command, result)
        assert len(result.err.strip().splitlines()) == 1
        assert "expected an address such as http://localhost:8000" in result.err
    shell.environment.setenv("LDSBOARD_SERVER", address)
    assert shell("leaderboard", "toy").code == exits.USAGE
    assert toy.bundle.manifest.name == "toy"


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY"])
@pytest.mark.parametrize("address", ["http://[::1", "what://proxy", "socks5://proxy:1080"])
def test_broken_proxy_address_ends_in_one_line(shell: Shell, variable: str, address: str) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "all_proxy", "no_proxy"):
        shell.environment.delenv(name, raising=False)
    shell.environment.setenv(variable, address)
    shell.environment.setenv("LDSBOARD_SERVER", "http://board.invalid")
    result = shell("leaderboard", "toy")
    assert result.code == exits.USAGE
    assert "HTTP_PROXY" in result.err
    assert len(result.err.strip().splitlines()) == 1


@pytest.mark.parametrize("value", ["", "  "])
def test_empty_variables_count_as_unset(shell: Shell, tmp_path: Path, value: str) -> None:
    shell.environment.setenv("HOME", str(tmp_path))
    shell.environment.setenv("USERPROFILE", str(tmp_path))
    shell.environment.setenv("LDSBOARD_CACHE", value)
    shell.environment.setenv("LDSBOARD_SERVER", value)
    assert cache.root() == tmp_path / ".cache" / "ldsboard"
    assert cache.default_server() == cache.DEFAULT_SERVER
    with Client(value, value) as client:
        assert client.server == cache.DEFAULT_SERVER


def test_address_keeps_no_spaces_and_slashes_at_its_ends() -> None:
    assert cache.server_address(" http://[::1]:8000/board// ") == "http://[::1]:8000/board"
    assert cache.server_address("https://bücher.example") == "https://bücher.example"


def test_offline_commands_need_neither_token_nor_the_server_that_is_set(
    shell: Shell, scores: Path, toy: Example, service: Service
) -> None:
    shell("pull", "toy")
    shell.environment.delenv("LDSBOARD_TOKEN")
    expected = toy.offline(toy.scores())["public"].lds
    with reserved_port() as port:
        dead = f"http://127.0.0.1:{port}"
        for server in (dead, "", service.url):
            shell.environment.setenv("LDSBOARD_SERVER", server)
            result = shell("score", str(scores), "--benchmark", "toy", "--json")
            assert result.code == 0, result.err
            assert result.json["lds"] == expected
            assert ("was pulled from another server" in result.err) is (server != service.url)
            assert shell("validate", str(scores), "--benchmark", "toy").code == 0
            assert shell("compare", str(scores), str(scores), "--benchmark", "toy").code == 0
        assert cache.pulled_from_any("toy", dead) == cache.pulled("toy", service.url)


def test_different_benchmarks_of_one_name_need_the_server(
    shell: Shell, scores: Path, open_toy: Example, service: Service
) -> None:
    shell("pull", "toy")
    other = cache.folder("http://other.example", "toy", 3)
    shutil.copytree(cache.pulled("toy", service.url), other)
    score = ("score", str(scores), "--benchmark", "toy", "--server", "http://dead.example")
    assert shell(*score).code == 0  # both copies are equal
    shutil.rmtree(other)
    shutil.copytree(open_toy.folder, other)
    result = shell(*score)
    assert result.code == exits.USAGE
    assert "other.example" in result.err
    assert "--server" in result.err
    assert cache.pulled("toy", "http://other.example") == other
    with pytest.raises(BundleError, match="ldsboard pull square"):
        cache.pulled_from_any("square", "http://dead.example")

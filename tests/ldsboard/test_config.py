"""The configuration file of the command line: where it is, and that every text survives it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ldsboard import config


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return tmp_path


@pytest.mark.parametrize("stated", ["", "relative/folder"])
def test_file_is_in_the_home_folder_unless_the_variable_names_an_absolute_path(
    home: Path, monkeypatch: pytest.MonkeyPatch, stated: str
) -> None:
    expected = home / ".config" / "ldsboard" / "config.toml"
    assert config.path() == expected
    monkeypatch.setenv("XDG_CONFIG_HOME", stated)
    assert config.path() == expected
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "own"))
    assert config.path() == home / "own" / "ldsboard" / "config.toml"


def test_unknown_home_folder_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", fail)
    with pytest.raises(config.ConfigError, match="XDG_CONFIG_HOME"):
        config.token("http://localhost:8000")


TEXTS = [
    "plain",
    'quote " and \\ backslash',
    "tab\tline\nreturn\r",
    "\x00\x1f\x7f\x80",
    "ä €  \U0001f600",
    "a.b = [c]#",
]


@pytest.mark.parametrize("text", TEXTS)
def test_every_text_survives_the_file(text: str) -> None:
    config.store_token("http://first", "ldsb_1")
    config.store_token(text, text)
    config.store_token("http://last", "ldsb_2")
    assert [config.token(server) for server in ("http://first", text, "http://last")] == ["ldsb_1", text, "ldsb_2"]
    assert config.delete_token(text)
    assert not config.delete_token(text)
    assert config.token(text) is None
    assert config.token("http://last") == "ldsb_2"

"""`ldsboard login` and `logout`: how a token is read, checked, stored and used."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
import termios
from typing import TYPE_CHECKING

import pytest

from ldsboard import config
from ldsboard.commands import exits
from tests.app.service import ROOT, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.service import Service
    from tests.client.shell import Shell


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "ldsboard"


@pytest.fixture
def unnamed(shell: Shell) -> Shell:
    """A user's shell without a token in the environment."""
    shell.environment.delenv("LDSBOARD_TOKEN")
    return shell


def test_login_stores_token_that_commands_then_use(
    unnamed: Shell, service: Service, token: str, scores: Path, folder: Path
) -> None:
    submit = ("submit", str(scores), "toy", "--method", "login", "--visibility", "private", "--practice", "--json")
    refused = unnamed(*submit)
    assert refused.code == exits.NOT_ALLOWED
    assert "ldsboard login" in refused.err
    done = unnamed("login", "--token", token)
    assert done.code == 0, done.err
    assert f"Logged in to {service.url} as alice" in done.out
    assert token not in done.out + done.err
    file = folder / "config.toml"
    assert file.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in folder.iterdir()] == ["config.toml"]
    assert config.token(service.url) == token

    submission = unnamed(*submit)
    assert submission.code == 0, submission.err
    shown = unnamed("status", submission.json["id"], "--server", f"{service.url}/")
    assert "scored" in shown.out
    unnamed.environment.setenv("LDSBOARD_TOKEN", service.token("other"))
    assert unnamed("status", submission.json["id"]).code == exits.USAGE  # the variable precedes the file
    assert unnamed("status", submission.json["id"], "--token", token).code == 0
    unnamed.environment.setenv("LDSBOARD_TOKEN", " ")
    assert unnamed("status", submission.json["id"], "--token", "").code == 0  # empty texts are no tokens

    assert unnamed("logout").code == 0
    assert config.token(service.url) is None
    assert unnamed("status", submission.json["id"]).code == exits.USAGE
    assert "No token" in unnamed("logout").out


def test_login_reads_the_standard_input_of_a_script(unnamed: Shell, service: Service, token: str) -> None:
    unnamed.environment.setattr("sys.stdin", io.StringIO(f" {token} \nmore\n"))
    assert unnamed("login").code == 0
    assert config.token(service.url) == token


def test_login_asks_on_a_terminal_without_showing_the_token(service: Service, token: str) -> None:
    master, terminal = pty.openpty()
    environment = os.environ | {"LDSBOARD_SERVER": service.url}
    command = [sys.executable, "-m", "ldsboard.cli", "login"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True
    ) as process:
        os.close(terminal)
        shown = b""
        while b"Token for" not in shown:
            shown += os.read(master, 1000)
        # The terminal drops what is typed before it hides what is typed.
        until(lambda: not termios.tcgetattr(master)[3] & termios.ECHO, "a terminal that hides what is typed")
        os.write(master, f"{token}\n".encode())
        while b"is stored in" not in shown:
            shown += os.read(master, 1000)
        assert process.wait() == 0
    os.close(master)
    assert token.encode() not in shown
    assert config.token(service.url) == token


@pytest.mark.parametrize(
    ("token", "code"),
    [("ldsb_wrong", exits.NOT_ALLOWED), ("", exits.USAGE), (" ", exits.USAGE), ("two\nlines", exits.NOT_ALLOWED)],
)
def test_login_stores_no_token_that_the_server_refuses(unnamed: Shell, folder: Path, token: str, code: int) -> None:
    assert unnamed("login", "--token", token).code == code
    unnamed.environment.setattr("sys.stdin", io.StringIO(""))
    assert unnamed("login").code == exits.USAGE
    assert not folder.exists()


def test_login_to_unreachable_server_stores_nothing(unnamed: Shell, folder: Path, token: str) -> None:
    assert unnamed("login", "--token", token, "--server", "http://127.0.0.1:9").code == exits.UNREACHABLE
    assert not folder.exists()


def test_token_is_sent_only_to_its_server(unnamed: Shell, service: Service, token: str, scores: Path) -> None:
    unnamed("login", "--token", token)
    other = service.url.replace("localhost", "127.0.0.1")
    submit = ("submit", str(scores), "toy", "--method", "x", "--practice", "--dry-run", "--server")
    assert unnamed(*submit, other).code == exits.NOT_ALLOWED
    elsewhere = unnamed("login", "--token", token, "--server", other)
    assert f"export LDSBOARD_SERVER={other}" in elsewhere.err
    assert unnamed(*submit, other).code == 0
    unnamed("logout", "--server", other)
    assert (config.token(other), config.token(service.url)) == (None, token)


def test_login_says_that_the_variable_precedes_the_stored_token(shell: Shell, token: str) -> None:
    assert "LDSBOARD_TOKEN is set" in shell("login", "--token", token).err


@pytest.mark.parametrize("content", [b"[tokens", b"tokens = 1", b"[tokens]\nx = 1", b"\xff\xfe", b"a = " + b"[" * 9000])
def test_damaged_file_is_an_error_that_names_it(
    unnamed: Shell, token: str, scores: Path, folder: Path, content: bytes
) -> None:
    folder.mkdir(parents=True)
    file = folder / "config.toml"
    file.write_bytes(content)
    dry_run = ("submit", str(scores), "toy", "--method", "x", "--dry-run")
    for command in (dry_run, ("login", "--token", token), ("logout",), ("status", "0")):
        result = unnamed(*command)
        assert result.code == exits.USAGE
        assert str(file) in result.err
        assert len(result.err) < 600
    assert file.read_bytes() == content
    assert unnamed(*dry_run, "--token", token).code == 0
    assert unnamed("leaderboard", "toy").code == 0  # needs no token
    assert token not in file.read_text(errors="replace")


def test_settings_of_another_version_are_not_lost(unnamed: Shell, token: str, folder: Path) -> None:
    folder.mkdir(parents=True)
    file = folder / "config.toml"
    file.write_text('colour = "red"\n[tokens]\n')
    result = unnamed("login", "--token", token)
    assert result.code == exits.USAGE
    assert "colour" in result.err
    assert file.read_text() == 'colour = "red"\n[tokens]\n'


def test_folder_that_cannot_be_used_is_an_error_that_names_it(unnamed: Shell, token: str, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "config.toml").mkdir()
    result = unnamed("login", "--token", token)
    assert result.code == exits.USAGE
    assert str(folder / "config.toml") in result.err


def test_link_to_the_file_stays_a_link(unnamed: Shell, token: str, folder: Path) -> None:
    real = folder.parent / "dotfiles.toml"
    folder.mkdir(parents=True)
    real.write_text("")
    (folder / "config.toml").symlink_to(real)
    assert unnamed("login", "--token", token).code == 0
    assert (folder / "config.toml").is_symlink()
    assert token in real.read_text()

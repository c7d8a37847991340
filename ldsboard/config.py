"""The configuration file of the command line, with the token of each server: ``ldsboard login`` writes it.

The file is ``ldsboard/config.toml`` in ``XDG_CONFIG_HOME``, by default in ``~/.config``. Only the current user can read it.
"""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any

from ldsboard.drafts import atomic_write
from ldsboard.invocation import program

TOKENS = "tokens"
"""Name of the only table of the file: the address of each server, and the token for it."""


class ConfigError(Exception):
    """The error for a configuration file that cannot be used; the message names the file."""


def path() -> Path:
    """Return the path of the configuration file, whether or not the file exists.

    Raises
    ------
    ConfigError
        The home folder is unknown, and ``XDG_CONFIG_HOME`` is not set.
    """
    stated = os.environ.get("XDG_CONFIG_HOME", "")
    if Path(stated).is_absolute():  # the specification says to ignore a relative path
        return Path(stated) / "ldsboard" / "config.toml"
    try:
        return Path.home() / ".config" / "ldsboard" / "config.toml"
    except RuntimeError as error:
        raise ConfigError("The home folder is unknown. Set XDG_CONFIG_HOME, or give --token.") from error


def token(server: str) -> str | None:
    """Return the token for a server; None if there is none.

    Raises
    ------
    ConfigError
        The file cannot be read, or is damaged; or the folder of the file is unknown, as in `path`.
    """
    return _tokens(_read()).get(server)


def store_token(server: str, token: str) -> Path:
    """Store the token for a server, in the place of an earlier one, and return the path of the file.

    Raises
    ------
    ConfigError
        The file is damaged, has settings that this version does not know, or cannot be written.
    """
    return _write(_known(_read()) | {server: token})


def delete_token(server: str) -> bool:
    """Delete the token for a server; return whether there was one. Raises the errors of `store_token`."""
    tokens = _known(_read())
    if server not in tokens:
        return False
    _write({address: value for address, value in tokens.items() if address != server})
    return True


def _read() -> dict[str, Any]:
    file = path()
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise ConfigError(f"The configuration file {file} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:  # no TOML, or no text
        raise _damaged(file, str(error)[:100]) from error


def _tokens(content: dict[str, Any]) -> dict[str, str]:
    tokens = content.get(TOKENS, {})
    if not isinstance(tokens, dict) or not all(isinstance(value, str) for value in tokens.values()):
        raise _damaged(path(), f"{TOKENS!r} is not a table of texts")
    return tokens


def _known(content: dict[str, Any]) -> dict[str, str]:
    """Return the tokens in the content of the file; raise ConfigError if there are other settings, which `_write` would drop."""
    if others := content.keys() - {TOKENS}:
        names = ", ".join(sorted(others))[:100]
        raise ConfigError(
            f"The configuration file {path()} has settings that this version of ldsboard does not know and would lose: {names}. "
            "Change the tokens in the file by hand."
        )
    return _tokens(content)


def _write(tokens: dict[str, str]) -> Path:
    file = path()
    lines = ["# Tokens of `ldsboard login`; `ldsboard logout` deletes one.", f"[{TOKENS}]"]
    lines += [f"{_quoted(server)} = {_quoted(value)}" for server, value in sorted(tokens.items())]
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with atomic_write(file.resolve()) as draft:  # a link to another folder stays a link
            draft.write("\n".join([*lines, ""]).encode())
    except OSError as error:
        raise ConfigError(f"The configuration file {file} cannot be written: {error.strerror}.") from error
    return file


def _quoted(text: str) -> str:
    """Return a text as a basic string of TOML; its escapes are those of JSON, and the delete character is escaped too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _damaged(file: Path, reason: str) -> ConfigError:
    return ConfigError(
        f"The configuration file {file} is damaged ({reason}). Delete it, and run: {program('ldsboard')} login"
    )

"""The commands ``ldsboard login`` and ``ldsboard logout``, which store the token of a server and delete it."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from ldsboard import cache, config
from ldsboard.client import Client
from ldsboard.commands import options
from ldsboard.commands.exits import USAGE, errors, fail
from ldsboard.commands.printing import output
from ldsboard.commands.queries import account
from ldsboard.identity import TOKEN_VARIABLE

LONGEST_TOKEN = 4096
"""Largest number of characters that are read from the standard input."""


def login(
    *,
    server: options.Server = None,
    token: Annotated[
        str | None,
        typer.Option(help="Token of your account; default: the command asks, or reads the standard input in a script."),
    ] = None,
) -> None:
    """Check a token and store it, so that commands for this server need neither LDSBOARD_TOKEN nor --token."""
    address = cache.server_address(server)
    value = _read_token(address) if token is None else token.strip()
    if not value:
        fail(USAGE, "Expected a token, got an empty text. Create a token on the page /account of the server.")
    with Client(address, value) as client:
        owner = account(client)["name"]
    file = config.store_token(address, value)
    output.print(f"Logged in to {address} as {owner}. The token is stored in {file}.", markup=False)
    if os.environ.get(TOKEN_VARIABLE, "").strip():
        errors.print("Warning: the variable LDSBOARD_TOKEN is set, and commands prefer its token.", markup=False)
    if address != cache.default_server():
        errors.print(f"To use this server by default: export LDSBOARD_SERVER={address}", markup=False)


def logout(*, server: options.Server = None) -> None:
    """Delete the stored token of a server. The token stays valid until you revoke it on the page /account of the server."""
    address = cache.server_address(server)
    if config.delete_token(address):
        output.print(f"The token for {address} is deleted from {config.path()}.", markup=False)
    else:
        output.print(f"No token for {address} is stored.", markup=False)


def _read_token(address: str) -> str:
    """Ask for the token on a terminal, without showing what is typed; otherwise read the first line of the standard input."""
    if sys.stdin is None:
        return ""
    if sys.stdin.isatty():
        return str(
            typer.prompt(f"Token for {address}", hide_input=True, default="", show_default=False, err=True)
        ).strip()
    return sys.stdin.readline(LONGEST_TOKEN).strip()

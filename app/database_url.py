"""The address of a database: an SQLite file, or a PostgreSQL database."""

from __future__ import annotations

import re

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError


def database_url(text: str, name: str = "LDSBOARD_DATABASE_URL") -> URL:
    """Parse the address of a database, which messages call `name`; ``postgres://`` is another spelling of ``postgresql://``.

    Raises
    ------
    ValueError
        The address is malformed, or of another database than SQLite and PostgreSQL. The message does not repeat the address,
        which can contain a password.
    """
    try:
        url = make_url(re.sub("^postgres://", "postgresql://", text))
    except (ArgumentError, ValueError):
        url = None
    if url is None or url.drivername not in ("sqlite", "postgresql", "postgresql+psycopg"):
        got = "an address that cannot be read" if url is None else f"a {url.drivername}:// address"
        raise ValueError(
            f"{name} must be sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME, with special characters of "
            f"the password written as %40 and so on; got {got}."
        )
    if "@" in (url.host or ""):  # messages name the host
        raise ValueError(f"{name}: the password has an @, which must be written as %40.")
    if {"password", "sslpassword"} & url.query.keys():
        raise ValueError(f"{name}: write the password before the host, as in postgresql://USER:PASSWORD@HOST/NAME.")
    return url


def without_password(url: URL) -> str:
    """Return an address for the programs of PostgreSQL, which ask for a missing password."""
    # `URL.set` cannot remove a password.
    shown = URL.create(url.get_backend_name(), url.username, None, url.host, url.port, url.database, url.query)
    return shown.render_as_string()


def with_placeholder(url: URL) -> str:
    """Return an address in which ``PASSWORD`` stands for a password, if the address has one."""
    shown = url if url.password is None else url.set(password="PASSWORD")  # noqa: S106 -- a placeholder
    return shown.render_as_string(hide_password=False)

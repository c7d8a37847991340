"""Open pulled benchmarks for the commands that work offline."""

from __future__ import annotations

from ldsboard.bundle import Bundle
from ldsboard.cache import folder, pulled_from_any, server_address
from ldsboard.commands.exits import errors


def open_pulled(name: str, server: str | None) -> Bundle:
    """Open a pulled benchmark; if it was pulled from another server than `server`, print a note on standard error.

    An offline command thus needs no address of a server, and works if the address that is set has changed since the pull.
    """
    opened = pulled_from_any(name, server)
    address = server_address(server)
    if opened.parent != folder(address, name, 0).parent:
        errors.print(
            f"Note: {name} was pulled from another server ({opened.parent.parent.name}) than {address}.", markup=False
        )
    return Bundle.open(opened)

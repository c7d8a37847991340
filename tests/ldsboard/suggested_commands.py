"""Run the command that an error message suggests."""

from __future__ import annotations

import shlex


def run_suggested_command(message: str) -> None:
    """Run the ``python -c`` command of an error message in this process."""
    program, option, code = shlex.split(message[message.index("python -c") : message.index("  and give")])
    assert (program, option) == ("python", "-c")
    exec(code, {})  # noqa: S102 -- the library wrote the command

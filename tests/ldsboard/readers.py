"""Somebody who reads an error message, and does what it says."""

from __future__ import annotations

import shlex


def run_what_it_says(message: str) -> None:
    """Run the line of an error message as its reader would, without the start of another Python."""
    program, option, code = shlex.split(message[message.index("python -c") : message.index("  and give")])
    assert (program, option) == ("python", "-c")
    exec(code, {})  # noqa: S102 -- the line is ours

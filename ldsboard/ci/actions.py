"""The interfaces of GitHub Actions, which Forgejo has too: commands on the standard output, and files for outputs and summary.

Source: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ldsboard.ci.summary import Annotation

SUMMARY_BYTES = 900 * 1024
"""Largest size of a step's summary. GitHub drops a summary of more than 1 MiB, and drops some smaller ones without an error.

Source: https://github.com/actions/runner/issues/4337
"""

ANNOTATION_CHARACTERS = 4000
"""Largest number of characters of an annotation."""


def escape_data(text: str) -> str:
    """Return a text, percent-encoded so that it can be the message of a workflow command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """Return a text, percent-encoded so that it can be the value of a property of a workflow command."""
    return escape_data(text).replace(":", "%3A").replace(",", "%2C")


def mask(token: str) -> str:
    """Return the workflow command that, once it is printed, hides a token in the rest of the log."""
    return f"::add-mask::{escape_data(token)}"


def annotate(found: Annotation) -> str:
    """Return the workflow command that, once it is printed, shows an annotation; a long message is cut."""
    properties = {"file": found.file, "title": found.title}
    stated = ",".join(f"{name}={escape_property(value)}" for name, value in properties.items() if value)
    return f"::{found.level} {stated}::{escape_data(found.message[:ANNOTATION_CHARACTERS])}"


@contextmanager
def commands_stopped(say: Callable[[str], None]) -> Iterator[None]:
    """Make the runner ignore workflow commands in the output of a block, because the block prints texts that are not trusted."""
    token = secrets.token_hex(16)
    say(f"::stop-commands::{token}")
    try:
        yield
    finally:
        say(f"::{token}::")


def write_outputs(path: str | Path, outputs: Mapping[str, str]) -> None:
    """Add outputs to the file ``GITHUB_OUTPUT``.

    Each value ends at a random delimiter, so that no value can hold its own delimiter and add a further output.
    """
    # A path can hold bytes that are no UTF-8: they are written as they are.
    with Path(path).open("a", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        for name, value in outputs.items():
            delimiter = f"end-{secrets.token_hex(16)}"
            file.write(f"{name}<<{delimiter}\n{value}\n{delimiter}\n")


def write_summary(path: str | Path, text: str) -> bool:
    """Add a text to the file ``GITHUB_STEP_SUMMARY``, and return whether anything was added.

    If the file has no room for the text, only the first line of the text is added, with a note that the rest is in the log. If
    the file has no room for this line and the note, nothing is added.
    """
    text = text.encode(errors="replace").decode()  # an input can hold bytes that are no UTF-8
    file = Path(path)
    size = file.stat().st_size if file.exists() else 0
    if size + len(text.encode()) > SUMMARY_BYTES:
        text = f"{text.partition(chr(10))[0][:200]}\n\nThe rest of the report is in the log.\n"
        if size + len(text.encode()) > SUMMARY_BYTES:
            return False
    with file.open("a", encoding="utf-8", newline="\n") as opened:
        opened.write(text)
    return True

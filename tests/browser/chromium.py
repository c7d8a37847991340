"""The system's own Chromium, started without anything that would reach for the network."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def launch(playwright: Playwright) -> Browser:
    """Start the browser."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    assert executable, "expected chromium on the PATH, got none; `make test` installs it"
    return playwright.chromium.launch(executable_path=executable, args=FLAGS)

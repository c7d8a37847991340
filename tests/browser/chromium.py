"""Start the system's Chromium with flags that prevent its own network requests."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-software-rasterizer",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def launch(playwright: Playwright) -> Browser:
    """Start Chromium without a window."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    assert executable, "Chromium was not found on the PATH; `make test` installs it."
    return playwright.chromium.launch(executable_path=executable, args=FLAGS)

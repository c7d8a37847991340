"""Which folders have the fixtures of the service: the library's tests are collected where none of its packages are.

They are one plugin, and not imported into the conftest.py of each folder, so that all folders share one server.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

HERE = Path(__file__).parent
SERVED = {"acceptance", "app", "browser", "client", "hostile", "worker"}
MAX_UPLOAD_BYTES = 1_000_000

for name in [name for name in os.environ if name.startswith("LDSBOARD_")]:
    del os.environ[name]  # what somebody has set for a server of their own is none of the tests' business


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> None:
    """Load the fixtures with the first file of a folder that has them; whether it is collected is decided elsewhere."""
    if file_path.relative_to(HERE).parts[0] in SERVED:
        parent.config.pluginmanager.import_plugin("tests.app.fixtures")

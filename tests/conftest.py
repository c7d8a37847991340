"""Load the service fixtures for the folders that use them; the library's tests also run without the service's packages.

The fixtures are one plugin instead of an import in each folder's conftest.py, so that all folders share one server.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

TESTS_FOLDER = Path(__file__).parent
FOLDERS_WITH_SERVICE = {"acceptance", "app", "browser", "client", "hostile", "worker"}
MAX_UPLOAD_BYTES = 1_000_000

CIFAR10 = os.environ.setdefault("TESTS_CIFAR10", os.environ.get("LDSBOARD_CIFAR10", ""))
"""A developer's own copy of CIFAR-10, for tests of the shipped benchmark that has no images; empty if there is none. The second
variable is for the processes of pytest-xdist, which start after the first is deleted."""

# Neither a developer's own settings nor the CI that runs the tests may affect them.
OUTER = ("LDSBOARD_", "AWS_", "CI_", "GITHUB_", "GITLAB_", "FORGEJO_", "GITEA_", "ACTIONS_ID_TOKEN_")
for name in [name for name in os.environ if name == "CI" or name.startswith(OUTER)]:
    del os.environ[name]

# Servers of tests retrain no models, unless a test asks them to.
os.environ["LDSBOARD_COUNTERFACTUAL"] = "false"

# A shell starts a job in the background with SIGINT ignored. Every process that a test starts and interrupts would inherit this.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> None:
    """Load the service fixtures at the first file of a folder that uses them; return None, so that pytest collects as usual."""
    if file_path.relative_to(TESTS_FOLDER).parts[0] in FOLDERS_WITH_SERVICE:
        parent.config.pluginmanager.import_plugin("tests.app.fixtures")

"""The commands of the operator's guide about backups, run in a shell with the settings of a board that uses PostgreSQL."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from app.accounts import users
from tests.app.service import ROOT, Service

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.postgresql import Cluster

GUIDE = (ROOT / "docs/how-to/operate.md").read_text(encoding="utf-8").partition("\n## Backups\n")[2]


@pytest.mark.server
def test_commands_back_up_check_and_restore(tmp_path: Path, cluster: Cluster, toy: Example) -> None:
    making, checking, restoring = re.findall(r"^```bash\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
    with Service(tmp_path / "live", database_url=cluster.create(), scoring_processes=0) as live:
        live.publish(toy.folder)
        live.token("ada")
        environment = live.environment | {"PATH": f"{Path(sys.executable).parent}:{live.environment['PATH']}"}

        def run(commands: str) -> tuple[str, str]:
            for folder in ("backups", "srv"):
                commands = commands.replace(f"/{folder}", str(tmp_path / folder))
            done = subprocess.run(
                ["/bin/bash", "-ec", commands], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            return done.stdout, done.stderr

        assert "The backup is complete" in run(making)[0]
        live.token("later")
        (tmp_path / "srv").mkdir()
        # `doctor` opens the installation as the server does, and ends.
        for commands, folder in (
            (checking, tmp_path / "backups/board"),
            (restoring.replace("app serve", "app doctor"), tmp_path / "srv/board"),
        ):
            agreed, places = run(commands)
            assert agreed == "Database rows and files agree.\n"
            assert f"Database: {folder}/ldsboard.sqlite3\n" in places
    with (
        closing(Service(tmp_path / "other", data_dir=tmp_path / "srv/board")) as restored,
        restored.database.read() as session,
    ):
        assert users.find_user(session, "ada").name == "ada"
        with pytest.raises(ValueError, match="later"):
            users.find_user(session, "later")

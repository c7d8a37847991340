"""The complete demo: train 2,000 models, publish the benchmark, submit six baselines, write the leaderboard.

This test is slow; `test_demo_steps.py` tests the same steps with a small benchmark and precomputed scores.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from app.benchmarks import catalog
from app.cli.demo import BASELINES, BENCHMARK, Demo, markers, practice_boards
from app.db.models import Measurement, Submission
from app.db.sessions import Database
from app.leaderboard.entries import list_entries
from app.results.comparison import compare
from app.settings import Settings
from tests.app.ports import reserved_port
from tests.app.service import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PRACTICE = "fashion5k-mlp"
HIDDEN_SEED = "5eed" * 8
"""Fixed, so that the random baseline has the same z in every run."""


@pytest.mark.slow
def test_demo_ranks_at_least_four_baselines_above_random(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    (start, end), (practice_start, practice_end) = markers(BENCHMARK), markers(PRACTICE)
    readme.write_text(f"Before\n{start}\nold\n{end}\nafter\n{practice_start}\n{practice_end}\n")
    settings = Settings(data_dir=tmp_path / "data")
    with reserved_port() as port:
        done = subprocess.run(
            [sys.executable, "-m", "app", "demo", "--port", str(port), "--table", str(readme)],
            cwd=ROOT,
            env=os.environ | {"LDSBOARD_DATA_DIR": str(settings.data_dir), "LDSBOARD_HIDDEN_SEED": HIDDEN_SEED},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    text = readme.read_text()
    assert text.startswith(f"Before\n{start}\n| rank | method |")
    assert text.endswith(f"{end}\nafter\n{practice_start}\n{practice_end}\n")
    assert all(f"| `{name}` |" in text for name in BASELINES)

    database = Database(settings.resolved_database_url)
    with database.read() as session:
        version = catalog.find_version(session, "digits-mlp")
        entries = {entry.identity.method: entry for entry in list_entries(session, version)}
        submissions = {submission.method: submission for submission in session.scalars(select(Submission))}
        assert set(entries) == set(BASELINES)
        assert abs(entries["random"].z_random) < 3
        better = 0
        for name in set(BASELINES) - {"random"}:
            against = compare(session, submissions[name], submissions["random"])
            better += entries[name].z_random >= 3 and against.difference > 0 and against.p_value < 0.05
        assert better >= 4
        ceiling, ceiling_error = version.manifest["ceiling"], version.manifest["ceiling_std_error"]
        assert 0.9 < ceiling < 1
        for measured in session.scalars(select(Measurement).where(Measurement.part == "ranking")):
            assert measured.lds - ceiling <= 2 * math.hypot(measured.std_error, ceiling_error)
    _check_practice_board(settings, database, readme)
    database.close()


def _check_practice_board(settings: Settings, database: Database, readme: Path) -> None:
    """Submit the two cheapest baselines to the practice board; the other baselines take minutes."""
    before = readme.read_text()
    with reserved_port() as port, pytest.MonkeyPatch.context() as patch:
        demo = Demo(settings, database, port)
        patch.setenv("LDSBOARD_DATA_DIR", str(settings.data_dir))
        with demo.serving():
            assert [demo.rows(board) for board in practice_boards()] == [[]] * len(practice_boards())
            demo.submit_baselines(demo.token(), PRACTICE, ("random", "similarity"))
            assert [row["method"] for row in demo.rows(PRACTICE)] == ["similarity", "random"]
            demo.write_table(readme, PRACTICE)
    start, end = markers(PRACTICE)
    assert readme.read_text().startswith(before.partition(start)[0] + f"{start}\n| rank | method |")
    assert readme.read_text().endswith(f"{end}\n")

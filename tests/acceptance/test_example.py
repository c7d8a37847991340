"""Run the example as a user does: after a pull, in an empty folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ldsboard import GroundTruth, cache

ROOT = Path(__file__).parents[2]


def run(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_example_computes_scores_far_from_chance_for_pulled_benchmark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = ("--public", "20", "--hidden", "10", "--processes", "1")
    trained = run("-m", "worker", "train", "digits-mlp", "--out", tmp_path / "made", *plan, folder=ROOT)
    assert trained.returncode == 0, trained.stderr
    monkeypatch.setenv("LDSBOARD_CACHE", str(tmp_path / "cache"))
    pulled = cache.folder(cache.default_server(), "digits-mlp", 1)
    shutil.copytree(tmp_path / "made" / "public", pulled / "public")

    done = run(ROOT / "examples" / "attribute.py", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "ldsboard score scores.npy digits-mlp" in done.stdout
    assert "ldsboard submit scores.npy digits-mlp" in done.stdout
    assert np.load(tmp_path / "scores.npy").dtype == np.float32
    assert GroundTruth.from_pulled("digits-mlp").score(tmp_path / "scores.npy").z_random > 3

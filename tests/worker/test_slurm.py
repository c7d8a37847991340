"""The SLURM example script, run with bash and the variables that SLURM sets."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from ldsboard.bundle import Bundle
from tests.worker.tiny import HIDDEN_SEED, ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

OPTIONS = ("--public", "4", "--hidden", "6", "--group", "4", "--shard-size", "12")


def test_slurm_array_trains_shards_concurrently_and_gather_completes(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHON": sys.executable, "LDSBOARD_HIDDEN_SEED": HIDDEN_SEED}
    out = str(tmp_path / "shared")

    def submit(*arguments: str, **variables: str) -> subprocess.Popen[str]:
        command = ["/bin/bash", "examples/train.slurm.sh", *arguments]
        return subprocess.Popen(command, cwd=ROOT, env=environment | variables, text=True, stderr=subprocess.PIPE)

    def wait_for_output(process: subprocess.Popen[str]) -> str:
        _, text = process.communicate()
        assert process.returncode == 0, text
        return text

    # Two tasks create the same training folder at the same time.
    tasks = [submit("train", "digits-mlp", "--out", out, *OPTIONS, SLURM_ARRAY_TASK_ID=str(task)) for task in (0, 1)]
    for task in tasks:
        wait_for_output(task)
    shards = sorted(path.name for path in (tmp_path / "shared" / "shards").glob("models-*"))
    assert shards == ["models-000000-000012.npz", "models-000012-000020.npz"]
    assert not (tmp_path / "shared" / "public").exists()  # no task gathers, since several tasks could do so at once
    assert "digits-mlp version 1 is in" in wait_for_output(submit("gather", out))
    assert Bundle.open(tmp_path / "shared").hidden().margins_MRN.shape == (6, 2, 597)

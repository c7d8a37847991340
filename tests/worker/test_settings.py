"""Another arithmetic is another configuration: a folder that was begun with one is not continued with the other."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
import torch

from tests.worker.tiny import HIDDEN_SEED, ROOT, command

if TYPE_CHECKING:
    from pathlib import Path

OPTIONS = ("--public", "4", "--hidden", "6", "--group", "4", "--hidden-seed", HIDDEN_SEED)
OTHER = "default" if torch.backends.cpu.get_cpu_capability() != "DEFAULT" else "avx2"


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        (
            "ATEN_CPU_CAPABILITY",
            OTHER,
            f"arithmetic.instruction_set: '{torch.backends.cpu.get_cpu_capability()}' there, ",
        ),
        ("MKL_CBWR", "COMPATIBLE", "arithmetic.mkl_cbwr: 'unset, on "),
    ],
)
def test_another_instruction_set_is_refused_and_named(trained: Path, variable: str, value: str, named: str) -> None:
    before = sorted(path.name for path in (trained / "shards").iterdir())
    run = subprocess.run(
        command("train", "digits-mlp", "--out", trained, *OPTIONS),
        cwd=ROOT,
        env=os.environ | {variable: value},
        text=True,
        capture_output=True,
        check=False,
    )
    assert run.returncode == 2
    assert "was begun with another configuration (" in run.stderr
    assert named in run.stderr
    assert f"{value.upper()}' now" in run.stderr
    assert sorted(path.name for path in (trained / "shards").iterdir()) == before

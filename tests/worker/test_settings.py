"""A training folder rejects a run with other arithmetic settings, which are part of the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from tests.worker.tiny import HIDDEN_SEED, run_in_subprocess

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess

    import pytest

OPTIONS = ("--public", "4", "--hidden", "6", "--group", "4", "--hidden-seed", HIDDEN_SEED)
OTHER = "default" if torch.backends.cpu.get_cpu_capability() != "DEFAULT" else "avx2"


def assert_rejected(run: CompletedProcess[str], setting: str) -> None:
    assert run.returncode == 2
    assert "was started with another configuration (" in run.stderr
    assert setting in run.stderr


def test_folder_rejects_other_instruction_set_and_names_it(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(path.name for path in (trained / "shards").iterdir())
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", OTHER)  # torch reads this variable at import
    run = run_in_subprocess("train", "digits-mlp", "--out", trained, *OPTIONS)
    assert_rejected(run, f"arithmetic.instruction_set: '{torch.backends.cpu.get_cpu_capability()}' in the folder, ")
    assert f"{OTHER.upper()}' now" in run.stderr
    assert sorted(path.name for path in (trained / "shards").iterdir()) == before


def test_folder_rejects_other_mkl_setting_and_names_it(
    trained: Path, monkeypatch: pytest.MonkeyPatch, worker: Callable[..., CompletedProcess[str]]
) -> None:
    before = sorted(path.name for path in (trained / "shards").iterdir())
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    run = worker("train", "digits-mlp", "--out", trained, *OPTIONS)
    assert_rejected(run, "arithmetic.mkl_cbwr: 'unset, on ")
    assert "COMPATIBLE' now" in run.stderr
    assert sorted(path.name for path in (trained / "shards").iterdir()) == before

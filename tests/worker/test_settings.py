"""Another arithmetic is another configuration: a folder that was begun with one is not continued with the other."""

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


def expect_refused(run: CompletedProcess[str], named: str) -> None:
    assert run.returncode == 2
    assert "was started with another configuration (" in run.stderr
    assert named in run.stderr


def test_another_instruction_set_is_refused_and_named(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(path.name for path in (trained / "shards").iterdir())
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", OTHER)  # which torch reads when it is imported
    run = run_in_subprocess("train", "digits-mlp", "--out", trained, *OPTIONS)
    expect_refused(run, f"arithmetic.instruction_set: '{torch.backends.cpu.get_cpu_capability()}' there, ")
    assert f"{OTHER.upper()}' now" in run.stderr
    assert sorted(path.name for path in (trained / "shards").iterdir()) == before


def test_other_products_of_mkl_are_refused_and_named(
    trained: Path, monkeypatch: pytest.MonkeyPatch, worker: Callable[..., CompletedProcess[str]]
) -> None:
    before = sorted(path.name for path in (trained / "shards").iterdir())
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    run = worker("train", "digits-mlp", "--out", trained, *OPTIONS)
    expect_refused(run, "arithmetic.mkl_cbwr: 'unset, on ")
    assert "COMPATIBLE' now" in run.stderr
    assert sorted(path.name for path in (trained / "shards").iterdir()) == before

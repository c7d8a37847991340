"""Choosing the device of training, and the arithmetic settings recorded in the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ldsboard.retraining import device
from ldsboard.retraining.recipe import has_convolutions
from worker.recipes import cifar10_5k_resnet9, digits_mlp

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    import pytest


class RecordingEnvironment(dict[str, str]):
    """An empty environment that records every requested name."""

    def __init__(self, requested: list[str]) -> None:
        super().__init__()
        self._requested = requested

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        self._requested.append(name)
        return default


def test_train_rejects_unknown_device(tmp_path: Path, worker: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    run = worker("train", "digits-mlp", "--out", tmp_path / "out", "--device", "abacus")
    assert (run.returncode, "auto, cpu or cuda, got 'abacus'" in run.stderr) == (2, True)
    assert not (tmp_path / "out").exists()


def test_best_device_is_gpu_if_available() -> None:
    assert device.best_kind() == ("cuda" if torch.cuda.is_available() else "cpu")
    assert device.process_count(device.CPU) >= 1
    assert device.torch_device(device.CPU) == torch.device("cpu")


def test_same_device_is_gpu_for_gpu_benchmark_if_available() -> None:
    assert device.kind_of({"gpu": "any"}) == device.best_kind()
    assert device.kind_of({"instruction_set": "AVX2"}) == device.CPU


def test_arithmetic_reads_every_pinned_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    requested: list[str] = []
    monkeypatch.setattr("ldsboard.retraining.device.os.environ", RecordingEnvironment(requested))
    device.arithmetic(device.CPU, has_convolutions=True)
    assert {*requested, "ATEN_CPU_CAPABILITY"} == set(device.PINS)  # torch itself reads this variable


def test_arithmetic_includes_onednn_only_for_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_convolutions(cifar10_5k_resnet9.build())
    assert not has_convolutions(digits_mlp.build())
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    plain = device.arithmetic(device.CPU, has_convolutions=False)
    assert device.arithmetic(device.CPU, has_convolutions=True) == plain | {"onednn_max_cpu_isa": "AVX2"}
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    assert str(device.arithmetic(device.CPU, has_convolutions=True)["onednn_max_cpu_isa"]).startswith("unset, on ")

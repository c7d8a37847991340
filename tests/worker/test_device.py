"""Where models train: what is asked for, what there is, and what of it is written into the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from worker import device
from worker.models import has_convolutions
from worker.recipes import cifar10_5k_resnet9, digits_mlp

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    import pytest


class Asked(dict[str, str]):
    """An environment that writes down what it is asked for."""

    def __init__(self, asked: list[str]) -> None:
        super().__init__()
        self._asked = asked

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        self._asked.append(name)
        return default


def test_another_device_than_there_is_is_refused(
    tmp_path: Path, worker: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    run = worker("train", "digits-mlp", "--out", tmp_path / "out", "--device", "abacus")
    assert (run.returncode, "auto, cpu or cuda, got 'abacus'" in run.stderr) == (2, True)
    assert not (tmp_path / "out").exists()


def test_the_best_device_is_a_gpu_where_there_is_one() -> None:
    assert device.best_kind() == ("cuda" if torch.cuda.is_available() else "cpu")
    assert device.process_count(device.CPU) >= 1
    assert device.torch_device(device.CPU) == torch.device("cpu")


def test_a_benchmark_of_a_gpu_is_made_again_on_one_where_there_is_one() -> None:
    assert device.kind_of({"gpu": "any"}) == device.best_kind()
    assert device.kind_of({"instruction_set": "AVX2"}) == device.CPU


def test_every_pin_of_the_arithmetic_is_known_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("worker.device.os.environ", Asked(asked))
    device.arithmetic(device.CPU, has_convolutions=True)
    assert {*asked, "ATEN_CPU_CAPABILITY"} == set(device.PINS)  # the one that torch itself reads


def test_onednn_counts_where_there_are_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    assert has_convolutions(cifar10_5k_resnet9.build())
    assert not has_convolutions(digits_mlp.build())
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    plain = device.arithmetic(device.CPU, has_convolutions=False)
    assert device.arithmetic(device.CPU, has_convolutions=True) == plain | {"onednn_max_cpu_isa": "AVX2"}
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    assert str(device.arithmetic(device.CPU, has_convolutions=True)["onednn_max_cpu_isa"]).startswith("unset, on ")

"""Tensors that torch saved become score files; anything else in such a file does not."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from ldsboard import ProblemError
from ldsboard.formats import open_scores
from ldsboard.tensors import as_score_file

if TYPE_CHECKING:
    from pathlib import Path

SCORES = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))


def test_other_files_stay_as_they_are(tmp_path: Path) -> None:
    assert as_score_file(tmp_path / "scores.npy") == tmp_path / "scores.npy"


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.bfloat16])
def test_a_tensor_becomes_the_same_numbers(tmp_path: Path, dtype: torch.dtype) -> None:
    path = tmp_path / "scores.pt"
    torch.save(SCORES.to(dtype).clone().requires_grad_(), path)
    found = open_scores(as_score_file(path))
    assert np.array_equal(found.astype(np.float64), SCORES.to(dtype).double().numpy())
    assert path.exists()


class Hostile:
    """What a pickle can do: run anything when it is opened."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (exec, ("raise SystemExit('it ran')",))


@pytest.mark.parametrize("content", [Hostile(), {"scores": SCORES}, [SCORES]], ids=["code", "a dict", "a list"])
def test_anything_else_is_refused_and_not_run(tmp_path: Path, content: object) -> None:
    path = tmp_path / "scores.pth"
    torch.save(content, path)
    with pytest.raises(ProblemError) as refused:
        as_score_file(path)
    assert refused.value.problem.code == "scores.object"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"", b"no tensor", b"PK\x03\x04 no archive"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "scores.pt"
    path.write_bytes(content)
    with pytest.raises(ProblemError, match="does not read as tensors"):
        as_score_file(path)


def test_without_torch_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ProblemError, match="no torch here"):
        as_score_file(tmp_path / "scores.pt")

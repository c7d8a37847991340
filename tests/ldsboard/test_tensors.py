"""Files of torch where there is no torch."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from ldsboard import ProblemError
from ldsboard.tensors import as_score_file

if TYPE_CHECKING:
    from pathlib import Path


def test_other_files_stay_as_they_are(tmp_path: Path) -> None:
    assert as_score_file(tmp_path / "scores.npy") == tmp_path / "scores.npy"


def test_without_torch_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ProblemError, match="no torch here"):
        as_score_file(tmp_path / "scores.pt")

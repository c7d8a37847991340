"""torch.save files when torch is not installed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from ldsboard import ProblemError
from ldsboard.formats.torch_files import as_score_file

if TYPE_CHECKING:
    from pathlib import Path


def test_as_score_file_returns_other_files_unchanged(tmp_path: Path) -> None:
    assert as_score_file(tmp_path / "scores.npy") == tmp_path / "scores.npy"


def test_as_score_file_reports_missing_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ProblemError, match="torch is not installed"):
        as_score_file(tmp_path / "scores.pt")

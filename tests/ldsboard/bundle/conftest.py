"""A written protected benchmark and a written open benchmark.

Legend: M subsets, R runs, n training examples, N targets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ldsboard.bundle import write_bundle
from tests.ldsboard.bundle.example import DESCRIPTION, HIDDEN, IMAGES, LABELS, MARGINS, MASKS, OPEN

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    (tmp_path / "kit" / "models").mkdir(parents=True)
    (tmp_path / "kit" / "recipe.py").write_text("EPOCHS = 3\n")
    (tmp_path / "kit" / "models" / "0.safetensors").write_bytes(bytes(10))
    return tmp_path / "kit"


@pytest.fixture
def protected(tmp_path: Path, kit: Path) -> Path:
    folder = tmp_path / "toy"
    write_bundle(
        folder, DESCRIPTION, masks_Mn=MASKS, margins_MRN=MARGINS, labels=LABELS, images=IMAGES, kit=kit, hidden=HIDDEN
    )
    return folder


@pytest.fixture
def practice(tmp_path: Path) -> Path:
    folder = tmp_path / "practice"
    write_bundle(folder, OPEN, masks_Mn=MASKS, margins_MRN=MARGINS, labels=LABELS)
    return folder

"""The worker puts a fifth of the hidden subsets in the reserve, and remakes a benchmark from its manifest with all of them."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from ldsboard.bundle import Bundle
from ldsboard.subsets import draw_reserve
from tests.worker.tiny import HIDDEN_SEED, TINY
from worker import recipes
from worker.gathering import gather
from worker.remaking import remake

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def bundle(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """A benchmark with a reserve, although it has few subsets."""
    monkeypatch.setattr("ldsboard.subsets.FEWEST_ANSWERED", 4)
    folder = tmp_path / "gathered"
    shutil.copytree(trained, folder)
    gather(folder, recipes.load)
    return Bundle.open(folder)


def test_gathered_benchmark_has_the_reserve_that_the_hidden_seed_draws(bundle: Bundle) -> None:
    reserve = bundle.hidden().reserve
    assert len(reserve) == 1
    assert reserve == draw_reserve(int(HIDDEN_SEED, 16), TINY.ranking)
    assert bundle.manifest.subsets == {"public": TINY.public, "ranking": TINY.ranking - 1}
    assert len(bundle.hidden().masks_Mn) == TINY.ranking


def test_remake_trains_the_reserve_too(bundle: Bundle) -> None:
    assert remake(bundle.folder, recipes.load).plan == TINY


def test_few_hidden_subsets_have_no_reserve(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "gathered")
    gather(tmp_path / "gathered", recipes.load)
    assert Bundle.open(tmp_path / "gathered").hidden().reserve == ()

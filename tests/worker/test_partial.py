"""Gathering a partial benchmark from the models that are trained so far."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ldsboard.bundle import Bundle
from ldsboard.subsets import draw_masks
from tests.worker.tiny import HIDDEN_SEED, TINY
from worker import recipes
from worker.gathering import gather, is_complete
from worker.remaking import remake
from worker.shards import ShardError
from worker.training import Trainer, prepare_folder

if TYPE_CHECKING:
    from pathlib import Path

# 8 public subsets with models 0-15, and 8 hidden subsets with models 16-31.
PLAN = replace(TINY, public=8, ranking=8)


def trained(folder: Path, *shards: range, split: str = "protected") -> Path:
    plan = replace(PLAN, split=split)
    job, _ = prepare_folder(plan, folder, recipes.load, HIDDEN_SEED if split == "protected" else None)
    work = job.prepare()
    for shard in shards:
        list(work(shard))
    return folder


def test_partial_benchmark_ends_each_split_before_its_first_missing_model(tmp_path: Path, trainer: Trainer) -> None:
    # Models 12-15 and 28-31 are missing: public subsets 6 and 7, and hidden subsets 6 and 7.
    folder = trained(tmp_path, range(12), range(16, 28))
    with pytest.raises(ShardError, match=r"missing: 12-15, 28-31\. .*--partial"):
        gather(folder, recipes.load)
    manifest = gather(folder, recipes.load, partial=True)
    assert manifest.subsets == {"public": 6, "ranking": 6}
    assert manifest.provenance["models"] == 24
    assert manifest.provenance["planned"] == {"public": 8, "ranking": 8}
    bundle = Bundle.open(folder)
    hidden = bundle.hidden()  # also checks that the seed draws these masks
    np.testing.assert_array_equal(bundle.masks_Mn, draw_masks(1, 6, 1200, 0.5))
    np.testing.assert_array_equal(hidden.masks_Mn, draw_masks(int(HIDDEN_SEED, 16), 6, 1200, 0.5))
    np.testing.assert_array_equal(bundle.margins_MRN.reshape(12, -1)[:8], trainer.train_group(range(8)).margins_KN[:8])


def test_partial_benchmark_omits_models_after_gap_and_can_be_completed(tmp_path: Path) -> None:
    folder = trained(tmp_path, range(8), range(12, 32))
    assert gather(folder, recipes.load, partial=True).subsets == {"public": 4, "ranking": 8}
    first = Bundle.open(folder).hidden().margins_MRN
    assert not is_complete(folder)
    again = remake(folder, recipes.load)
    assert again.plan == PLAN  # the original plan, so that the same models train together
    assert again.differences == ["the original lacks some of the 8 + 8 planned subsets, the remake has all"]
    trained(folder, range(8, 12))
    manifest = gather(folder, recipes.load, partial=True)
    assert is_complete(folder)
    assert manifest.subsets == {"public": 8, "ranking": 8}
    assert "planned" not in manifest.provenance
    np.testing.assert_array_equal(Bundle.open(folder).hidden().margins_MRN, first)


def test_gather_rejects_too_few_complete_subsets(tmp_path: Path) -> None:
    folder = trained(tmp_path, range(4), range(16, 32))
    with pytest.raises(ShardError, match="too few for a benchmark: expected a value of at least 4 for public, got 2"):
        gather(folder, recipes.load, partial=True)
    assert not (folder / "public").exists()


def test_partial_open_benchmark_has_fewer_ranking_rows(tmp_path: Path) -> None:
    folder = trained(tmp_path, range(28), split="open")
    manifest = gather(folder, recipes.load, partial=True)
    assert manifest.subsets == {"public": 8, "ranking": 6}
    assert manifest.ranking == (8, 14)
    np.testing.assert_array_equal(Bundle.open(folder).masks_Mn, draw_masks(1, 14, 1200, 0.5))

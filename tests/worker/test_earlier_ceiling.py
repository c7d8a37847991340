"""A folder gathered when the ceiling was not corrected yet cannot be published, and the hint of the error repairs the folder."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

import numpy as np
import pytest

from app.management.publication_checks import PublishError
from ldsboard.bundle import Bundle
from ldsboard.core.ceiling import noise_ceiling
from ldsboard.invocation import program
from tests.app.benchmarks import publish
from tests.ceilings import uncorrected_ceiling
from worker import recipes
from worker.gathering import gather
from worker.plan import Configuration, Plan
from worker.shards import Shard
from worker.training import prepare_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess

    from app.db.sessions import Database

PLAN = Plan("digits-mlp", split="open", public=20, ranking=100, group=4)


def test_hint_of_publishing_repairs_an_uncorrected_ceiling(
    tmp_path: Path, database: Database, worker: Callable[..., CompletedProcess[str]]
) -> None:
    folder = tmp_path / "made here"
    prepare_folder(PLAN, folder, recipes.load)
    write_shard(folder)
    gather(folder, recipes.load)
    margins_MRN = Bundle.open(folder).margins_MRN[20:]
    path = folder / "public" / "benchmark.json"
    earlier = json.loads(path.read_text()) | {"ceiling": uncorrected_ceiling(margins_MRN)}
    path.write_text(json.dumps(earlier))
    with pytest.raises(PublishError, match="The manifest must state the numbers that the arrays give") as refused:
        publish(database, tmp_path / "published", folder)
    python, *arguments = shlex.split(str(refused.value).split("from the trained models: ")[1])
    assert (python, *arguments[:2]) == (program("python"), "-m", "worker")
    assert worker(*arguments[2:]).returncode == 0
    assert publish(database, tmp_path / "published", folder).manifest["ceiling"] == noise_ceiling(margins_MRN).value


def write_shard(folder: Path) -> None:
    """Write a shard with random margins instead of trained models."""
    models, N = len(PLAN.models), 597
    rng = np.random.default_rng(5)
    margins = np.repeat(rng.normal(size=(models // 2, N)), 2, axis=0) + rng.normal(size=(models, N))
    shard = Shard(
        start=0,
        stop=models,
        models=np.array([[model.part, model.subset, model.run] for model in PLAN.models]).astype(np.str_),
        margins=margins.astype(np.float32),
        accuracy=np.full(models, 0.9),
        loss=np.full(models, 0.3),
        seconds=1.0,
    )
    shard.write(folder / "shards", Configuration.read(folder).digest)

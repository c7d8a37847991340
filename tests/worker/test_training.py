"""Training gives the same bytes after a kill and a restart, and gathering rejects unsuitable shards."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.app.service import until
from tests.processes import alive, children
from tests.worker.tiny import HIDDEN_SEED, ROOT, TINY, command, import_file
from worker import recipes
from worker.gathering import gather
from worker.plan import ConfigurationError
from worker.shards import Shard, ShardError
from worker.training import Job, prepare_folder

if TYPE_CHECKING:
    from collections.abc import Callable

GATED = Path(__file__).with_name("gated.py")
LARGER = replace(TINY, recipe=str(GATED), public=20, ranking=20, group=5)
LARGER_OPTIONS = ("--public", "20", "--hidden", "20", "--group", "5", "--hidden-seed", HIDDEN_SEED)


def train_until_killed(folder: Path, *options: str | Path) -> None:
    """Train until a shard exists and a process waits to train another, then kill the main process."""
    waiting = folder.with_name("waiting")
    waiting.mkdir()
    environment = os.environ | {"GATE": str(folder / "shards" / "models-*.npz"), "WAITING": str(waiting)}
    arguments = command("train", *options, "--shard-size", "5")
    with subprocess.Popen(arguments, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as run:
        try:
            until(lambda: list(waiting.iterdir()) or run.poll() is not None, "a waiting training process")
            assert run.poll() is None  # fail if the run has ended
            started = children(run.pid)
        finally:
            run.send_signal(signal.SIGKILL)
    assert {int(path.name) for path in waiting.iterdir()} <= started
    try:
        until(lambda: not any(map(alive, started)), "the training processes to end")
    finally:
        for pid in filter(alive, started):
            os.kill(pid, signal.SIGKILL)


def test_killed_and_continued_training_gives_same_bytes_as_uninterrupted(
    tmp_path: Path, worker: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    folder = tmp_path / "killed"
    options = (GATED, "--out", folder, *LARGER_OPTIONS, "--processes", "2")
    train_until_killed(folder, *options)
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("shards/models-*.npz")}
    assert len(before) in {1, 2}  # of 16 shards
    assert not (folder / "public").exists()

    # Continue in this process with another shard size; existing shards are kept.
    continued = worker("train", *options, "--shard-size", "20")
    assert continued.returncode == 0, continued.stderr
    assert "ceiling" in continued.stderr
    assert before.items() <= {path.name: path.stat().st_mtime_ns for path in folder.glob("shards/*.npz")}.items()

    # Train without interruption, all models in one shard.
    other = tmp_path / "uninterrupted"
    job, configuration = prepare_folder(LARGER, other, recipes.load, HIDDEN_SEED)
    trainer = job.trainer()
    *_, shard = trainer.train_shard(range(80))
    assert isinstance(shard, Shard)
    shard.write(other / "shards", configuration.digest)
    gather(other, recipes.load)
    for name in ("public/masks.npy", "public/margins.npy", "hidden/masks.npy", "hidden/margins.npy"):
        assert (folder / name).read_bytes() == (other / name).read_bytes(), name
    for name in ("recipe.py", "reference-0.safetensors", "reference-4.safetensors"):
        assert (folder / "public/kit" / name).read_bytes() == (other / "public/kit" / name).read_bytes(), name


def test_gather_rejects_incomplete_folder(job: Job) -> None:
    list(job.prepare()(range(4, 8)))
    with pytest.raises(ShardError, match="got 4; missing: 0-3, 8-19"):
        gather(job.folder, recipes.load)


def test_gather_rejects_shard_from_other_folder(job: Job, trained: Path) -> None:
    (job.folder / "shards").mkdir()
    for path in (trained / "shards").iterdir():
        (job.folder / "shards" / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ShardError, match="another configuration"):
        gather(job.folder, recipes.load)


def test_gather_rejects_changed_recipe(trained: Path, tmp_path: Path) -> None:
    changed = tmp_path / "digits_mlp.py"
    recipe = recipes.load("digits-mlp")
    changed.write_text(Path(str(vars(recipe)["__file__"])).read_text() + "# changed\n")
    with pytest.raises(ConfigurationError, match="recipe_sha256"):
        gather(trained, lambda _: import_file(changed))

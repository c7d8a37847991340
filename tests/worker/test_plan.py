"""The plan and configuration of a training are fixed before it starts, and the hidden seed stays secret."""

from __future__ import annotations

from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from torch import nn

from ldsboard.subsets import commitment
from tests.worker.tiny import HIDDEN_SEED, TINY
from worker import recipes
from worker.data import DataError
from worker.plan import CONFIGURATION, HIDDEN, Configuration, ConfigurationError, HiddenSeed, Plan
from worker.training import Job, Trainer, prepare_folder

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"split": "closed"}, "'protected' or 'open', got 'closed'"),
        ({"public": 3}, "at least 4 for public, got 3"),
        ({"runs": 1}, "at least 2 for runs, got 1"),
        ({"public_seed": -1}, "at least 0 for public-seed, got -1"),
        ({"engine": "warp"}, "batched, sequential, vmapped, got 'warp'"),
    ],
)
def test_plan_rejects_invalid_options(option: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Plan(**asdict(TINY) | option)


def test_configuration_digest_depends_on_every_setting(trainer: Trainer) -> None:
    configuration = trainer.configuration
    changes: list[dict[str, Any]] = [
        {"plan": replace(TINY, group=2)},
        {"plan": replace(TINY, public_seed=2)},
        {"commitment": commitment(1, bytes(16))},
        {"recipe_sha256": "0" * 64},
        {"settings": configuration.settings | {"momentum": 0.8}},
        {"dataset": configuration.dataset | {"sha256": {}}},
        {"arithmetic": configuration.arithmetic | {"instruction_set": "another"}},
    ]
    digests = {replace(configuration, **change).digest for change in changes} | {configuration.digest}
    assert len(digests) == len(changes) + 1


def test_folder_rejects_other_configuration_and_names_difference(job: Job) -> None:
    with pytest.raises(ConfigurationError, match=r"plan\.group: 4 in the folder, 2 now"):
        prepare_folder(replace(TINY, group=2), job.folder, recipes.load, HIDDEN_SEED)


def test_folder_can_be_continued_without_hidden_seed_option(job: Job) -> None:
    again, configuration = prepare_folder(TINY, job.folder, recipes.load)
    assert again.hidden == job.hidden
    assert Configuration.read(job.folder) == configuration


def test_hidden_seed_is_drawn_once_and_readable_by_owner_only(tmp_path: Path) -> None:
    first, second = (HiddenSeed.read_or_create(tmp_path, None, public_seed=1) for _ in range(2))
    assert first == second
    assert first.seed.bit_length() > 64
    assert first != HiddenSeed.read_or_create(tmp_path / "other", None, public_seed=1)
    assert (tmp_path / "hidden" / "hidden.json").stat().st_mode & 0o777 == 0o600
    assert list((tmp_path / "hidden").iterdir()) == [tmp_path / "hidden" / "hidden.json"]


def test_hidden_seed_is_not_in_repr(job: Job) -> None:
    assert job.hidden is not None
    assert str(job.hidden.seed) not in repr(job)


@pytest.mark.parametrize(
    "given", ["xyz", "1" * 33, "1" * 31, "-" + "1" * 31, "0x" + "1" * 30, "1" * 15 + "_" + "1" * 16]
)
def test_malformed_hidden_seed_is_rejected_and_not_printed(tmp_path: Path, given: str) -> None:
    with pytest.raises(ConfigurationError, match="32 hexadecimal digits") as refused:
        HiddenSeed.read_or_create(tmp_path, given, public_seed=1)
    assert given not in str(refused.value)


def test_folder_rejects_other_hidden_seed(job: Job) -> None:
    with pytest.raises(ConfigurationError, match="holds a different hidden seed"):
        prepare_folder(TINY, job.folder, recipes.load, "ff" * 16)


def test_hidden_seed_must_differ_from_public_seed(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="equals the public seed"):
        prepare_folder(TINY, tmp_path, recipes.load, f"{TINY.public_seed:032x}")
    assert list(tmp_path.iterdir()) == []


def test_open_benchmark_rejects_hidden_seed(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no hidden seed"):
        prepare_folder(replace(TINY, split="open"), tmp_path, recipes.load, HIDDEN_SEED)


def test_folder_is_not_created_without_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LDSBOARD_FASHION_MNIST", str(tmp_path / "absent"))
    with pytest.raises(DataError, match="Check the folder in LDSBOARD_FASHION_MNIST"):
        prepare_folder(replace(TINY, recipe="fashion5k-mlp"), tmp_path / "out", recipes.load, HIDDEN_SEED)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("engine", ["batched", "vmapped"])
def test_unsuitable_engine_is_rejected_before_folder_is_created(tmp_path: Path, engine: str) -> None:
    curved = SimpleNamespace(
        **vars(recipes.load("digits-mlp")) | {"build": lambda: nn.Sequential(nn.Linear(64, 10), nn.Tanh())}
    )
    with pytest.raises(
        ConfigurationError,
        match=f"The {engine} engine requires .* Train this (model|recipe) with the sequential engine",
    ):
        prepare_folder(replace(TINY, engine=engine), tmp_path, lambda _: curved, HIDDEN_SEED)
    assert list(tmp_path.iterdir()) == []


def test_open_benchmark_is_rejected_in_folder_with_hidden_seed(tmp_path: Path) -> None:
    HiddenSeed.read_or_create(tmp_path, None, public_seed=1)
    with pytest.raises(ConfigurationError, match=r"open benchmark must not have the file .*hidden\.json"):
        prepare_folder(replace(TINY, split="open"), tmp_path, recipes.load)
    assert not (tmp_path / CONFIGURATION).exists()


@pytest.mark.parametrize("given", [None, HIDDEN_SEED])
def test_missing_hidden_seed_is_not_replaced(job: Job, given: str | None) -> None:
    (job.folder / HIDDEN).unlink()
    with pytest.raises(ConfigurationError, match="Restore it from a backup"):
        prepare_folder(TINY, job.folder, recipes.load, given)
    assert not (job.folder / HIDDEN).exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"plan": {"mystery": 1}}'])
def test_damaged_configuration_is_rejected_and_named(job: Job, content: str) -> None:
    (job.folder / CONFIGURATION).write_text(content)
    with pytest.raises(ConfigurationError, match=r"training\.json is not a valid configuration: .*Delete the file"):
        prepare_folder(TINY, job.folder, recipes.load)
    (job.folder / CONFIGURATION).unlink()
    assert prepare_folder(TINY, job.folder, recipes.load)[0].hidden == job.hidden


def test_repeated_subsets_are_rejected_before_training(tmp_path: Path) -> None:
    few = SimpleNamespace(**vars(recipes.load("digits-mlp")) | {"ALPHA": 1 / 1200})
    with pytest.raises(
        ConfigurationError,
        match=r"expected 100 different subsets of the 1200 training examples, got \d repeated subsets",
    ):
        prepare_folder(replace(TINY, public=40, ranking=60), tmp_path / "few", lambda _: few, HIDDEN_SEED)
    none = SimpleNamespace(**vars(recipes.load("digits-mlp")) | {"ALPHA": 1.0})
    with pytest.raises(ConfigurationError, match=r"ALPHA = 1\.0, each subset would hold all or none of the 1200"):
        prepare_folder(TINY, tmp_path / "none", lambda _: none, HIDDEN_SEED)


def test_reading_missing_hidden_seed_fails(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="Restore it"):
        HiddenSeed.read(tmp_path / HIDDEN)


def test_splits_and_runs_are_independent(trainer: Trainer) -> None:
    masks = np.concatenate([trainer.masks["public"], trainer.masks["hidden"]])
    assert len(np.unique(masks, axis=0)) == 10
    assert (masks.sum(axis=1) == 600).all()
    margins_KN = trainer.train_group(range(2)).margins_KN
    assert trainer.models[0].subset == trainer.models[1].subset
    assert np.abs(margins_KN[0] - margins_KN[1]).mean() > 0.1

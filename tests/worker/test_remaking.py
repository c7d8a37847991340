"""A benchmark made again, by anyone with its manifest and the operator's hidden.json, has the same bytes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from ldsboard.bundle import Bundle
from ldsboard.manifest import BundleError
from tests.worker.tiny import TINY, import_file, run_in_subprocess
from worker import recipes
from worker.gathering import gather
from worker.plan import ConfigurationError, recipe_file
from worker.remaking import remake

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def original(trained: Path) -> Path:
    torch.set_num_threads(2)  # as a process of its own has by itself, on two cores: the references must not show it
    gather(trained, recipes.load)
    return trained


@pytest.fixture
def published(original: Path, tmp_path: Path) -> Path:
    """Nothing of the original but the manifest, in a folder of its own."""
    folder = tmp_path / "published"
    (folder / "public").mkdir(parents=True)
    shutil.copy(original / "public" / "benchmark.json", folder / "public")
    return folder


def files(folder: Path) -> dict[str, bytes]:
    """Return all that is published or kept, by name."""
    halves = ("public", "hidden")
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for half in halves
        for path in (folder / half).rglob("*")
        if path.is_file()
    }


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "public" / "benchmark.json"
    members = json.loads(path.read_text())
    change(members)
    path.write_text(json.dumps(members))


def test_manifest_and_hidden_seed_give_the_same_bytes(original: Path, published: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    seed = json.loads((original / "hidden" / "hidden.json").read_text())
    kept.write_text(json.dumps({name: seed[name] for name in ("seed", "nonce")}))  # what existed before the training
    again = tmp_path / "again"
    run = run_in_subprocess(
        "remake", published, "--hidden", kept, "--out", again, "--processes", "2", "--shard-size", "12"
    )
    assert run.returncode == 0, run.stderr
    assert "may differ" not in run.stderr
    before, after = files(original), files(again)
    assert len(before) == 19
    # One figure is measured, not computed: the processor time that it took.
    manifests = [json.loads(made.pop("public/benchmark.json")) for made in (before, after)]
    assert all(manifest["provenance"].pop("seconds") > 0 for manifest in manifests)
    assert manifests[0] == manifests[1]
    assert before == after
    assert Bundle.open(again).hidden().nonce.hex() == seed["nonce"]
    assert seed["seed"] not in run.stderr


def test_what_is_made_again_may_not_replace_the_original(
    published: Path, worker: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    run = worker("remake", published, "--out", published / ".." / published.name)
    assert run.returncode != 0
    assert "Choose another folder" in " ".join(run.stderr.split())
    assert sorted(path.name for path in published.iterdir()) == ["public"]


def test_the_plan_is_read_back(original: Path) -> None:
    assert remake(original, recipes.load).plan == TINY


def test_another_hidden_seed_is_refused(original: Path, tmp_path: Path) -> None:
    other = tmp_path / "hidden.json"
    other.write_text(json.dumps({"seed": "00" * 16, "nonce": "00" * 16}))
    with pytest.raises(ConfigurationError, match="does not match the commitment"):
        remake(original, recipes.load, other)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[1]",
        '{"seed": "xyz", "nonce": "secret"}',
        '{"seed": "00", "nonce": "5ec3"}',
        f'{{"seed": "{"f" * 33}", "nonce": "{"00" * 16}"}}',
    ],
)
def test_a_damaged_hidden_file_is_refused_and_not_repeated(original: Path, tmp_path: Path, content: str) -> None:
    damaged = tmp_path / "hidden.json"
    damaged.write_text(content)
    with pytest.raises(ConfigurationError, match="must hold a seed and a nonce of 32 hexadecimal") as error:
        remake(original, recipes.load, damaged)
    assert "secret" not in str(error.value)


def test_without_the_hidden_seed_it_cannot_be_made(published: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"The hidden seed .*hidden\.json is missing"):
        remake(published, recipes.load)


def test_another_recipe_or_data_set_is_refused(original: Path, published: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed.py"
    changed.write_text(recipe_file(recipes.load("digits-mlp")).read_text() + "# changed\n")
    with pytest.raises(ConfigurationError, match="The recipe digits-mlp differs from the kit's recipe"):
        remake(original, lambda _: import_file(changed))
    rewrite(published, lambda members: members["dataset"]["sha256"].update(train_images="0" * 64))
    with pytest.raises(ConfigurationError, match="The data set digits differs from the one that"):
        remake(published, recipes.load)


def test_a_manifest_that_does_not_tell_how_is_refused(published: Path) -> None:
    rewrite(published, lambda members: members["provenance"].pop("models_at_once"))
    with pytest.raises(BundleError, match="lacks 'models_at_once'"):
        remake(published, recipes.load)


def test_another_machine_is_named(original: Path, published: Path) -> None:
    assert remake(original, recipes.load).differences == []
    shutil.copytree(original / "hidden", published / "hidden")
    rewrite(published, lambda members: members["provenance"].update(instruction_set="ANOTHER"))
    (difference,) = remake(published, recipes.load).differences
    assert difference.startswith("instruction_set ANOTHER then, ")
    assert remake(published, recipes.load).plan == replace(TINY)

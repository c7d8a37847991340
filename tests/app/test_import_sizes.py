"""Imports of several subset sizes and of repeated evaluations, with the commands of the guide and of the error messages.

Legend: M subsets, n training examples, N targets.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import numpy as np
import pytest
from typer.testing import CliRunner

from app.__main__ import cli
from ldsboard.bundle import Bundle
from ldsboard.importing.benchmarks import write_import
from ldsboard.importing.origins import Origin
from ldsboard.importing.reading import read_origin
from tests.app.service import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from typer.testing import Result

GUIDE = (ROOT / "docs/how-to/import-ground-truth.md").read_text(encoding="utf-8")
n, N = 10_000, 3
rng = np.random.default_rng(6)


def masks_of(*sizes: int) -> NDArray[np.bool_]:
    """Return a random subset of each size, bool (M, n)."""
    return np.stack([rng.permutation(n) < size for size in sizes])


def commands(heading: str) -> list[str]:
    """Return the lines of the command block below a heading of the guide."""
    (text,) = re.findall(rf"^## {heading}\n(.*?)^## ", GUIDE, re.DOTALL | re.MULTILINE)
    (block,) = re.findall(r"^```bash\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return list(map(str, block.splitlines()))


def run(command: str) -> Result:
    """Run an operator's command in this process."""
    assert command.startswith("python -m app ")
    return CliRunner().invoke(cli, shlex.split(command)[3:])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and a data folder for the operator's commands."""
    monkeypatch.setenv("LDSBOARD_DATA_DIR", str(tmp_path / "data"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture
def two_sizes(folder: Path) -> NDArray[np.bool_]:
    """Files with 130 subsets of each of two sizes and 5 of a third, whose margins grow with the size."""
    masks_Mn = masks_of(*[3000, 7000] * 130, *[500] * 5)
    np.save(folder / "mask.npy", masks_Mn)
    np.save(folder / "val_margins.npy", masks_Mn.sum(axis=1)[:, None] / n + rng.normal(size=(len(masks_Mn), N)))
    return masks_Mn


def test_command_of_the_guide_publishes_a_benchmark_of_each_size(folder: Path, two_sizes: NDArray[np.bool_]) -> None:
    (command,) = commands("Several subset sizes")
    refused = run(command.removesuffix(" --by-size"))
    assert refused.exit_code == 2
    assert re.search(r"a file of ones has an LDS of 0\.[1-9].* Add --by-size to make", refused.stderr)
    assert run("python -m app benchmark list").stdout == ""
    made = run(f"{command} --out kept")
    assert made.exit_code == 0, made.stderr
    assert "1 run of each subset.\n26 public subsets and 104 ranking subsets (rows 26 to 129)." in made.stdout
    assert made.stderr.endswith("needs 8 public and 8 ranking subsets of one size: 5 subsets of 500 examples.\n")
    listed = run("python -m app benchmark list").stdout
    for size in (3000, 7000):
        name = f"cifar2-size-{size}"
        assert f"`{name}`" in GUIDE
        assert f"{name} version 1, open, 0 entries\n" in listed
        bundle = Bundle.open(folder / "kept" / name)
        assert np.array_equal(bundle.masks_Mn, two_sizes[two_sizes.sum(axis=1) == size])
        assert bundle.manifest.alpha == size / n


@pytest.mark.usefixtures("two_sizes")
def test_either_all_sizes_are_published_or_none(folder: Path) -> None:
    (command,) = commands("Several subset sizes")
    only = masks_of(*[7000] * 130)
    np.save(folder / "one.npy", only)
    np.save(folder / "margins.npy", rng.normal(size=(130, N)))
    one_size = "python -m app benchmark import cifar2 --masks one.npy --margins margins.npy --by-size"
    assert run(one_size).exit_code == 0
    refused = run(command)
    assert refused.exit_code == 2
    assert "cifar2-size-7000 version 1 is published already" in refused.stderr
    assert run("python -m app benchmark list").stdout == "cifar2-size-7000 version 1, open, 0 entries\n"
    assert not list((folder.parent / "data/benchmarks").glob("cifar2-size-3000/*"))


@pytest.mark.usefixtures("two_sizes")
def test_command_of_the_error_publishes_an_open_folder_of_several_sizes(folder: Path) -> None:
    origin = Origin(folder / "mask.npy", folder / "val_margins.npy")
    about = {"name": "mixed", "version": 3, "title": "Mixed", "licence": "MIT", "description": "Two sizes."}
    write_import(
        folder / "two words", origin, read_origin(origin), about | {"output_function": "logit", "ranking": (50, 265)}
    )
    refused = run("python -m app benchmark publish 'two words'")
    assert refused.exit_code == 2
    assert "holds 5 subsets of 500 examples, 130 subsets of 3,000 examples, 130 subsets of 7,000" in refused.stderr
    made = run(refused.stderr.strip().partition("each size: ")[2])
    assert made.exit_code == 0, made.stderr
    listed = run("python -m app benchmark list").stdout
    assert listed.splitlines() == [f"mixed-size-{size} version 3, open, 0 entries" for size in (3000, 7000)]


def test_commands_of_the_guide_average_the_evaluations_of_each_model(folder: Path) -> None:
    masks_Mn = masks_of(*[5000] * 130)
    np.save(folder / "mask.npy", masks_Mn)
    losses_KMN = rng.normal(size=(3, len(masks_Mn), N))
    for i, losses_MN in enumerate(losses_KMN):
        np.save(folder / f"seed{i}.npy", losses_MN)
    stack, command = commands("Repeated evaluations of one model")
    program, option, code = shlex.split(stack)
    assert (program, option) == ("python", "-c")
    exec(code, {})  # noqa: S102 -- the guide wrote the command
    made = run(f"{command} --out kept")
    assert made.exit_code == 0, made.stderr
    assert "1 run of each subset." in made.stdout
    assert "Noise ceiling unknown" in made.stdout
    assert "Each margin is the mean of 3 evaluations of one model." in made.stdout
    bundle = Bundle.open(folder / "kept")
    assert (bundle.manifest.runs, bundle.manifest.ceiling) == (1, None)
    np.testing.assert_allclose(bundle.margins_MRN[:, 0], -losses_KMN.mean(axis=0), rtol=1e-6, atol=1e-7)

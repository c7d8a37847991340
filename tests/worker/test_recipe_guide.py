"""The example of the recipe guide works unchanged: its data set, its recipe and its commands."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from runpy import run_path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ldsboard.bundle import Bundle
from tests.worker.tiny import ROOT, run_in_this_process
from worker import recipes
from worker.__main__ import main
from worker.gathering import gather
from worker.plan import ConfigurationError, Plan
from worker.remaking import remake
from worker.training import prepare_folder

if TYPE_CHECKING:
    from pathlib import Path

GUIDE = (ROOT / "docs/how-to/write-a-recipe.md").read_text()


def run(patch: pytest.MonkeyPatch, command: str) -> None:
    """Run a command of the guide, a script or the trainer, in this process."""
    python, *arguments = shlex.split(command)
    assert python == "python"
    if arguments[:2] == ["-m", "worker"]:
        patch.setattr(sys, "argv", arguments[1:])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
    else:
        (script,) = arguments
        run_path(script, run_name="__main__")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the guide's two files, after the guide's commands were run in it."""
    folder = tmp_path_factory.mktemp("guide")
    data, recipe = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    (folder / "flowers.py").write_text(data)
    (folder / "flowers_net.py").write_text(recipe)
    (commands,) = re.findall(r"```bash\n(.*?)```", GUIDE, re.DOTALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("ldsboard.retraining.processes.run", run_in_this_process)
        patch.setenv("LDSBOARD_HIDDEN_SEED", "1234" * 8)  # with this seed, every run gives the same ceiling
        for command in commands.splitlines():
            run(patch, command)
    return folder


def test_guide_commands_create_benchmark(written: Path) -> None:
    bundle = Bundle.open(written / "flowers")
    assert bundle.manifest.name == "flowers-net"
    assert bundle.manifest.dataset["source"] == "Fisher 1936, as shipped with scikit-learn"
    assert bundle.manifest.licence == "CC BY 4.0"
    assert bundle.margins_MRN.shape == (20, 2, 50)
    assert bundle.manifest.provenance["accuracy_mean"] > 0.9
    assert bundle.manifest.ceiling is not None
    assert bundle.manifest.ceiling > 0.9
    np.testing.assert_array_equal(bundle.array("target_images").shape, (50, 4))


def test_guide_kit_readme_code_runs(written: Path) -> None:
    kit = written / "flowers" / "public" / "kit"
    assert (kit / "recipe.py").read_bytes() == (written / "flowers_net.py").read_bytes()
    lines = re.findall(r"^    (.*)$", (kit / "README.md").read_text(), re.MULTILINE)
    assert lines[0] == "import numpy, recipe, torch"
    script = "\n".join([*lines, "print(float((margins > 0).double().mean()))"])
    done = subprocess.run([sys.executable, "-c", script], cwd=kit, capture_output=True, text=True, check=True)
    assert float(done.stdout) > 0.9


def test_guide_benchmark_can_be_remade_with_path_of_recipe(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(written)  # the recipe reads its data from the working directory
    again = remake(written / "flowers", recipes.load, recipe_path="flowers_net.py")
    assert (again.plan.recipe, again.plan.public, again.differences) == ("flowers_net.py", 20, [])
    with pytest.raises(ConfigurationError, match=r"or a path .*, got 'flowers-net'"):
        remake(written / "flowers", recipes.load)


def test_guide_kit_files_have_default_permissions(written: Path) -> None:
    kit = written / "flowers" / "public" / "kit"
    plain = written / "flowers.py"  # a file with default permissions
    assert {path.stat().st_mode for path in kit.iterdir() if path.is_file()} == {plain.stat().st_mode}
    assert kit.stat().st_mode == kit.parent.stat().st_mode


def test_benchmark_without_licence_contains_no_images(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with np.load(written / "flowers.npz") as arrays:
        np.savez(tmp_path / "flowers.npz", **{name: arrays[name] for name in arrays if name != "licence"})
    monkeypatch.chdir(tmp_path)  # the recipe reads its data from the working directory
    recipe = str(written / "flowers_net.py")
    plan = Plan(recipe, split="open", public=4, ranking=4, group=1, engine="sequential")
    job, _ = prepare_folder(plan, tmp_path / "flowers", recipes.load)
    list(job.prepare()(range(16)))
    gather(tmp_path / "flowers", recipes.load)
    public = tmp_path / "flowers" / "public"
    assert {path.stem for path in public.glob("*.npy")} == {"masks", "margins", "train_labels", "target_labels"}
    assert "images = ...  # uint8 (50, 4)" in (public / "kit" / "README.md").read_text()


@pytest.mark.parametrize(
    ("line", "replacement", "message"),
    [
        ('ENGINE, GROUP = "sequential", 1', "", "The recipe .*flowers_net.py lacks ENGINE, GROUP"),
        ("    momentum: float = 0.9  # Adam's first beta", "", r"lacks SETTINGS\.momentum"),
        (
            'NAME = "flowers-net"',
            'NAME = "Flowers, net"',
            "NAME in .* may only have lower-case letters, .*: got 'Flowers, net'",
        ),
    ],
)
def test_incomplete_recipe_is_rejected_before_training(
    tmp_path: Path, line: str, replacement: str, message: str
) -> None:
    text = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)[1]
    assert line in text
    (tmp_path / "flowers_net.py").write_text(text.replace(line, replacement))
    with pytest.raises(ConfigurationError, match=message):
        recipes.load(str(tmp_path / "flowers_net.py"))


def test_missing_recipe_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"The recipe file /.*/flowers_net.py does not exist"):
        recipes.load(str(tmp_path / "flowers_net.py"))

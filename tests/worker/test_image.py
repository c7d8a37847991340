"""The image of the trainer: its packages, and the files that it copies. No test builds the image."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.linux_packages import needed_packages, pinned_versions
from tests.worker.tiny import ROOT

if TYPE_CHECKING:
    from pathlib import Path

DOCKERFILE = (ROOT / "docker/worker.Dockerfile").read_text()
SERVER = (ROOT / "docker/server.Dockerfile").read_text()
CUDA = re.compile(r"(cuda|nvidia)-.*|triton")
"""Names of packages that only a torch with CUDA needs; the torch of this environment can be either."""

USE_EVERYTHING = """
import os, sys
from worker import recipes
from worker.data import load
assert recipes.__file__.startswith(os.getcwd()), recipes.__file__
for name in ("digits-mlp", "fashion5k-mlp", "cifar10-5k-resnet9"):
    recipe = recipes.load(name)
    recipe.DATASET.startswith("cifar10") or load(recipe.DATASET)  # cifar10 is downloaded
from worker.__main__ import main
sys.argv = ["worker", "--help"]
main()
"""


def copied() -> list[tuple[str, str]]:
    """Return the source and the target of each file or folder that is copied into the image, both relative."""
    lines = [line.split() for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE)]
    return [(source, source if target == "./" else target) for *sources, target in lines for source in sources]


def test_image_installs_only_wheels_in_pinned_versions() -> None:
    pip, *others = re.findall(r"pip install (.*?) *\\?$", DOCKERFILE, re.MULTILINE)
    assert re.fullmatch(r"--no-cache-dir pip==[\d.]+", pip)
    assert len(others) == 2
    for options in others:
        assert "--only-binary :all: --constraint constraints.txt" in options
    assert {"--group=train", "--group=ray"} <= set(others[0].split())
    assert others[1].endswith(" --no-build-isolation .")
    needed = {name for name in needed_packages(["train", "ray"], "x86_64") if not CUDA.fullmatch(name)}
    assert needed <= pinned_versions().keys()
    assert re.fullmatch(r"[\d.]+", pinned_versions()["torch"])  # without a suffix such as +cpu, which would forbid CUDA


def test_image_has_the_base_and_the_user_of_the_server_image() -> None:
    for line in (r"^FROM .+$", r"^USER .+$", r"^VOLUME .+$"):
        assert re.findall(line, DOCKERFILE, re.MULTILINE) == re.findall(line, SERVER, re.MULTILINE)
    assert DOCKERFILE.endswith('\nENTRYPOINT ["python", "-m", "worker"]\nCMD ["--help"]\n')


def test_copied_files_suffice_and_are_part_of_the_context(tmp_path: Path) -> None:
    kept = [line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"]
    for source, target in copied():
        assert source in kept, source
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, tmp_path / target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, tmp_path / target)
    shutil.rmtree(tmp_path / "ldsboard")  # installed, and removed again
    run = subprocess.run(
        [sys.executable, "-c", USE_EVERYTHING], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "train" in run.stdout

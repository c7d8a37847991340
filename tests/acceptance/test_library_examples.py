"""The examples of attribution libraries, run as a user does, from the kit's reference models to a scored submission."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ldsboard import GroundTruth, submission
from tests.app.service import Service
from tests.references.answers import FOLDER, PINNED

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:The rows of the file are targets:UserWarning")]

ROOT = Path(__file__).parents[2]
SENT = {
    "captum": ("captum", "influence.pt"),
    "dattri": ("dattri", "scores.pt"),
    "kronfluence": ("kronfluence", "influence_results/digits/scores_margins"),
    "trak": ("traker", "trak_results/scores/targets.mmap"),
}
"""For each example the package that it names, and the file or folder that it submits."""


def run(*arguments: str | Path, folder: Path) -> str:
    """Run Python with the libraries on its path, and return its standard output."""
    path = {"PYTHONPATH": os.pathsep.join((str(ROOT), str(FOLDER))), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=os.environ | path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A server with a small digits-mlp, as the environment of a user who has pulled it."""
    folder = tmp_path_factory.mktemp("digits")
    plan = ("--public", "40", "--hidden", "100", "--processes", "1")
    run("-m", "worker", "train", "digits-mlp", "--out", folder / "made", *plan, folder=ROOT)
    with Service(folder / "service") as running:
        running.publish(folder / "made")
        yield {
            "LDSBOARD_SERVER": running.url,
            "LDSBOARD_TOKEN": running.token("ada"),
            "LDSBOARD_CACHE": str(folder / "cache"),
        }


@pytest.mark.parametrize("name", SENT)
def test_example_submits_the_file_of_a_library(
    name: str, digits: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in digits.items():
        monkeypatch.setenv(variable, value)
    script, (package, file) = ROOT / "examples" / f"with_{name}.py", SENT[name]
    assert f"pip install {package}=={PINNED[package]}\n" in script.read_text(encoding="utf-8")
    run("-m", "ldsboard", "pull", "digits-mlp", folder=tmp_path)

    printed = run(script, folder=tmp_path)
    found = re.search(r"Submission\(([\w-]+), method='[\w-]+', practice, scored, public LDS=", printed)
    assert found, printed
    scored, offline = submission(found[1]), GroundTruth.from_pulled("digits-mlp").score(tmp_path / file)
    assert scored.lds == offline.lds
    assert offline.z_random > 5


def test_every_example_of_a_library_is_run() -> None:
    assert {path.stem for path in (ROOT / "examples").glob("with_*.py")} == {f"with_{name}" for name in SENT}

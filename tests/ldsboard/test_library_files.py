"""Files of every library are read by commands and in Python, and have the LDS of the plain array, bit for bit."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard import GroundTruth
from tests.ldsboard.library_files import LIBRARIES, write_bergson, write_kronfluence, write_trak

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.ldsboard.conftest import Run

GUIDE = (Path(__file__).parents[2] / "docs/how-to/score-files.md").read_text(encoding="utf-8")
ROWS = {row[0]: row for row in (line.strip("| ").split(" | ") for line in GUIDE.splitlines() if line.startswith("| "))}

pytestmark = pytest.mark.filterwarnings("ignore:(bergson's|The scores of 2 modules|The rows of the file):UserWarning")


def halves(scores: Path) -> NDArray[Any]:
    """Return scores that float16, float32 and float64 represent exactly, so that all forms hold the same numbers."""
    array: NDArray[Any] = np.load(scores).astype("f2").astype("f4")
    return array


def test_guide_has_a_row_for_every_library() -> None:
    assert ROWS.keys() - {"library", "---"} == LIBRARIES.keys()


@pytest.mark.parametrize("library", LIBRARIES)
def test_row_of_the_guide_leads_to_the_lds_of_the_array(library: str, scores: Path, run: Run) -> None:
    name, write = LIBRARIES[library]
    _, file, axes, _, commands = ROWS[library]
    assert f"`{name}`" in file.replace("/`", "`")
    array = halves(scores)
    path = scores.parent / "left" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, array)
    left = sorted(path.parent.rglob("*"))
    truth = GroundTruth.from_pulled("toy")
    expected = truth.score(array)
    for command in re.findall(r"`ldsboard ([^`]+)`", commands):
        words = command.replace(name, str(path)).replace("BENCHMARK", "toy").split()
        assert str(path) in words
        code, out, err = run(*words)
        assert code == 0, err
        assert f"LDS {expected.lds:.4f}" in out
        assert ("transposed" in err) == (axes == "target, train")
    code, out, _ = run("score", path, "toy", "--json")
    assert (code, json.loads(out)["lds"]) == (0, expected.lds)
    assert truth.score(path).per_target.tolist() == expected.per_target.tolist()
    assert sorted(path.parent.rglob("*")) == left


@pytest.mark.parametrize("library", ["kronfluence, partitions", "bergson", "pyDVL"])
def test_key_for_a_folder_with_one_table_is_refused(library: str, scores: Path, run: Run) -> None:
    name, write = LIBRARIES[library]
    write(scores.parent / name, halves(scores))
    code, _, error = run("score", str(scores.parent / name), "toy", "--axes", "target,train", "--key", "other")
    assert code == 3
    assert "an array with the name 'other'" in error
    assert "Leave out --key" in error


def test_python_warns_of_transposition_and_sign(scores: Path) -> None:
    array, truth = halves(scores), GroundTruth.from_pulled("toy")
    path = scores.with_name("pairwise_scores.safetensors")
    write_kronfluence(path, array)
    with pytest.warns(UserWarning, match="so the file was transposed"):
        assert truth.score(path).lds == truth.score(array).lds
    folder = scores.with_name("magic")
    write_bergson(folder, -array, higher_is_better=False)
    with pytest.warns(UserWarning, match="the signs of all scores were reversed"):
        assert truth.score(folder).lds == truth.score(array).lds


def test_validate_names_unfinished_targets_of_trak(scores: Path, run: Run) -> None:
    array = halves(scores)
    array[:, 2:4] = 0
    array[7] = 0
    path = scores.with_name("half.mmap")
    write_trak(path, array)
    code, _, err = run("validate", path, "toy")
    assert code == 0
    assert "2 of 5 targets have only zeros as scores: 2, 3." in err
    assert "1 of 30 training examples have only zeros as scores: 7." in err
    assert "zeros" not in run("validate", scores, "toy")[2]
    array[:20] = 0
    write_trak(path, array)
    assert (
        "20 of 30 training examples have only zeros as scores: 0, 1, 2, 3, 4, 5, 6, 7 and 12 more."
        in run("validate", path, "toy")[2]
    )

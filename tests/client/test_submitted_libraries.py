"""The files and folders of attribution libraries are submitted as they are, by the command and in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import ldsboard
from tests.ldsboard.library_files import LIBRARIES, bfloat16_bits, write_kronfluence, write_safetensors

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.app.benchmarks import Example
    from tests.client.shell import Shell
    from tests.ldsboard.library_files import Write

pytestmark = pytest.mark.filterwarnings("ignore:(bergson's|The scores of 2 modules):UserWarning")


def write_folder(folder: Path, scores_nN: NDArray[np.float32]) -> None:
    """Write a folder with kronfluence's whole file, which the server accepts, among others."""
    folder.mkdir()
    (folder / "score_arguments.json").write_text("{}")
    write_kronfluence(folder / "pairwise_scores.safetensors", scores_nN)


def write_bfloat16(path: Path, scores_nN: NDArray[np.float32]) -> None:
    """Write kronfluence's file with ``score_dtype`` bfloat16, which represents small multiples of 1/8 exactly."""
    write_safetensors(path, {"all_modules": bfloat16_bits(scores_nN.T)})


FORMS: dict[str, tuple[str, Write]] = {
    **{name: LIBRARIES[name] for name in ("TRAK", "dattri", "bergson, magic", "quanda", "pyDVL", "pyinfluence")},
    "kronfluence, scores per module": LIBRARIES["kronfluence, scores per module"],
    "kronfluence, partitions": LIBRARIES["kronfluence, partitions"],
    "kronfluence, folder": ("scores_NAME", write_folder),
    "kronfluence, bfloat16": ("pairwise_scores.safetensors", write_bfloat16),
}


@pytest.mark.parametrize("form", FORMS)
def test_what_a_library_saved_is_submitted(form: str, toy: Example, tmp_path: Path, shell: Shell) -> None:
    name, write = FORMS[form]
    scores_nN = (np.clip(np.round(toy.scores() * 8), -200, 200) / 8).astype(np.float32)
    path = tmp_path / "left" / name
    path.parent.mkdir(parents=True)
    write(path, scores_nN)
    array = ldsboard.submit(scores_nN, benchmark="toy", method="array", kind="practice")
    entry = ldsboard.submit(path, benchmark="toy", method="library", kind="practice")
    assert entry.lds == array.lds
    checked = shell("submit", str(path), "toy", "--method", "checked", "--practice", "--dry-run", "--json")
    assert checked.code == 0, checked.err
    sent = shell("submit", str(path), "toy", "--method", "command", "--practice", "--json")
    assert sent.code == 0, sent.err
    assert sent.json["public"]["lds"] == array.lds

"""Files that the attribution libraries themselves wrote are read, and have the LDS of the scores that the library returned.

Legend: M subsets, n training examples, N targets.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ldsboard import GroundTruth
from tests.references.answers import PINNED, run_with_references
from tests.references.saved_scores import SAVED, N, n

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:(The scores of 2 modules|The rows of (the file|dattri-llm)):UserWarning"),
]

M = 64


@pytest.mark.parametrize("form", SAVED)
def test_file_of_a_library_has_the_lds_of_its_scores(form: str, tmp_path: Path) -> None:
    saved = json.loads(run_with_references("-m", "tests.references.saved_scores", form, tmp_path).splitlines()[-1])
    assert saved["version"] == PINNED[SAVED[form][0]]
    rng = np.random.default_rng(0)
    truth = GroundTruth(rng.permuted(np.tile(np.arange(n) < n // 2, (M, 1)), axis=1), rng.normal(size=(M, N)))
    scores_nN = np.load(tmp_path / "plain.npy")
    assert scores_nN.shape == (n, N)
    expected = truth.score(scores_nN)
    assert expected.constant_predictions == 0
    given = truth.score(saved["path"])
    assert given.per_target.tolist() == expected.per_target.tolist()
    assert given.lds == expected.lds

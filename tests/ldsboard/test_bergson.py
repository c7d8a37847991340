"""Folders of bergson: the sign is read from the configuration, and scores that were not written are refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard import ProblemError
from ldsboard.formats.bergson import higher_is_better
from ldsboard.formats.saved_scores import read_saved
from tests.ldsboard.library_files import bfloat16_bits, write_bergson

if TYPE_CHECKING:
    from pathlib import Path

SCORES = (np.arange(21).reshape(7, 3) / 4 - 11.5).astype("f4")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
@pytest.mark.parametrize(
    ("better", "sign", "note"),
    [
        (True, 1, "bergson's config.yaml says higher_is_better: true, so the signs were not changed."),
        (False, -1, "bergson's config.yaml says higher_is_better: false, so the signs of all scores were reversed."),
        (None, 1, "No config.yaml of bergson tells the sign of the scores, so the signs were not changed."),
    ],
)
def test_scores_of_every_type_have_the_sign_of_the_configuration(
    tmp_path: Path, dtype: str, better: bool | None, sign: int, note: str
) -> None:
    write_bergson(tmp_path / "run", SCORES, higher_is_better=better, dtype=dtype)
    saved = read_saved(tmp_path / "run")
    expected = SCORES if dtype != "bfloat16" else (bfloat16_bits(SCORES).astype("u4") << 16).view("f4")
    assert np.array_equal(saved.array, sign * expected)
    assert saved.notes == (note,)


def test_unwritten_scores_are_refused_counted_and_located(tmp_path: Path) -> None:
    written = np.ones(SCORES.shape, bool)
    written[3:5, 1] = written[2, 2] = False
    write_bergson(tmp_path / "run", SCORES, written_nN=written)
    with pytest.raises(
        ProblemError, match=r"3 scores that bergson has not written, the first at \(row, column\) \(2, 2\)"
    ):
        read_saved(tmp_path / "run")


CONFIGS = {
    "steps:\n- score:\n    score_cfg:\n      higher_is_better: false\n": False,
    "steps:\n- score:\n    score_cfg:\n      # higher_is_better: false\n\n      higher_is_better: True\n": True,
    "score_cfg:\n  candidates:\n    higher_is_better: false\n": None,
    "score_cfg:\n  batch_size: 1\nother:\n  higher_is_better: false\n": None,
    "recall_cfg:\n  higher_is_better: false\n": None,
    "a:\n  score_cfg:\n    higher_is_better: true\nb:\n  score_cfg:\n    higher_is_better: false\n": None,
    "a:\n  score_cfg:\n    higher_is_better: false\nb:\n  score_cfg:\n    higher_is_better: false\n": False,
    "score_cfg:\n  higher_is_better: null\n": None,
    "": None,
}


@pytest.mark.parametrize("text", CONFIGS)
def test_sign_is_read_from_the_score_cfg_only(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    assert higher_is_better(tmp_path / "config.yaml") is CONFIGS[text]


def test_wrong_size_and_wrong_description_are_refused(tmp_path: Path) -> None:
    write_bergson(tmp_path / "run", SCORES)
    records, info = tmp_path / "run/scores.bin", tmp_path / "run/info.json"
    whole, about = records.read_bytes(), json.loads(info.read_text())
    records.write_bytes(whole[:-1])
    with pytest.raises(ProblemError, match="expected 168 bytes for 7 records of 24 bytes, got 167 bytes"):
        read_saved(tmp_path / "run")
    records.write_bytes(whole)
    layout = about["dtype"]
    for changes in (
        {"attribute_tokens": True},
        {"num_rows": 0},
        {"num_rows": "x"},
        {"num_scores": 2},
        {"dtype": None},
        {"dtype": layout | {"formats": []}},
        {"dtype": layout | {"formats": ["O"] * 6}},
        {"dtype": layout | {"formats": ["int32", "bool"] * 3}},
        {"dtype": layout | {"formats": ["float32", "bool", "float16", "bool", "float32", "bool"]}},
        {"dtype": layout | {"offsets": [0, 4, -8, 12, 16, 20]}},
    ):
        info.write_text(json.dumps(about | changes))
        assert _refused(tmp_path / "run") == "scores.unreadable"
    for text in ("[]", "{", "[" * 100_000):
        info.write_text(text)
        assert _refused(tmp_path / "run") == "scores.unreadable"


def _refused(folder: Path) -> Any:
    with pytest.raises(ProblemError) as refused:
        read_saved(folder)
    return refused.value.problem.code

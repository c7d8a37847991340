"""What a notebook shows for a result: a small, well-formed and escaped HTML table."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard import GroundTruth, Submission, compare, lds
from ldsboard.core.result import WARNINGS
from ldsboard.notebook_table import notebook_table

if TYPE_CHECKING:
    from pathlib import Path

    from tests.ldsboard.conftest import MakeProblem

VIEW: dict[str, Any] = {
    "id": "abc",
    "state": "scored",
    "benchmark": {"name": "toy", "version": 2},
    "owner": "eve",
    "method": "ours",
    "kind": "ranked",
    "visibility": "public",
    "hidden": {"lds": 0.5, "std_error": 0.01, "ci": [0.48, 0.52], "rank": [2, 4], "of_ceiling": 0.6},
    "public": {"lds": 0.4, "std_error": 0.02, "ci": [0.36, 0.44]},
    "warnings": [],
    "links": {"page": "/submissions/abc"},
}


def cells(html: str) -> dict[str, list[str]]:
    """Return the values of a table by their names; fail unless the HTML is well-formed and has only tags of a table."""
    root = ET.fromstring(html)  # noqa: S314 -- the HTML is our own
    assert {element.tag for element in root.iter()} <= {"table", "caption", "tbody", "tr", "th", "td"}
    assert {name for element in root.iter() for name in element.attrib} <= {"scope"}
    found: dict[str, list[str]] = {}
    for row in root.iter("tr"):
        name, value = (cell.text or "" for cell in row)
        found.setdefault(name, []).append(value)
    return found


def test_texts_of_a_table_are_escaped() -> None:
    hostile = "<script>alert('1')</script> & \"'"
    html = notebook_table(hostile, [(hostile, hostile)])
    assert cells(html) == {hostile: [hostile]}
    assert "<script" not in html


def test_result_shows_numbers_in_a_table(make_problem: MakeProblem) -> None:
    result = lds(*make_problem())
    low, high = result.confidence_interval
    assert cells(result._repr_html_()) == {
        "LDS": [f"{result.lds:.4f}"],
        "95 % interval": [f"{low:.4f} to {high:.4f}"],
        "standard error": [f"{result.std_error:.4f}"],
        "mean p-value": [f"{result.mean_p:.3g}"],
        "distance from random scores": [f"{result.z_random:.1f} standard deviations, p-value {result.p_random:.2g}"],
        "computed from": ["40 subsets, 5 targets"],
    }
    assert len(result._repr_html_()) < 1000


def test_result_shows_every_warning(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    scores[:, 1] = 0.1
    assert cells(lds(-scores, masks, margins)._repr_html_())["warning"] == [
        WARNINGS["scores.constant_predictions"],
        WARNINGS["scores.sign_flipped"],
    ]


def test_result_of_few_subsets_shows_nan(make_problem: MakeProblem) -> None:
    shown = cells(lds(*make_problem(M=3, N=1))._repr_html_())
    assert (shown["standard error"], shown["95 % interval"]) == (["nan"], ["nan to nan"])
    assert shown["computed from"] == ["3 subsets, 1 target"]


def test_results_of_pulled_benchmark_are_shown(scores: Path) -> None:
    result = GroundTruth.from_pulled("toy").score(scores)
    assert cells(result._repr_html_())["LDS"] == [f"{result.lds:.4f}"]


def test_comparison_shows_numbers_in_a_table(make_problem: MakeProblem) -> None:
    scores, masks, margins = make_problem()
    a, b = lds(scores, masks, margins), lds(scores + np.eye(30, 5), masks, margins)
    paired = compare(b, a)
    assert cells(paired._repr_html_()) == {
        "LDS of a minus LDS of b": [f"{paired.difference:+.4f}"],
        "standard error": [f"{paired.std_error:.4f}"],
        "z": [f"{paired.z:.2f}"],
        "p-value": [f"{paired.p_value:.2g}"],
        "compared": ["these two files; how much a rerun moves is not known"],
    }
    assert cells(compare(a, a)._repr_html_())["p-value"] == ["1"]


def test_submission_shows_numbers_of_the_part_that_counts() -> None:
    ranked = Submission.of(VIEW, "https://board.example")
    assert (ranked.part, ranked.lds, ranked.confidence_interval, ranked.rank) == ("ranking", 0.5, (0.48, 0.52), (2, 4))
    assert cells(ranked._repr_html_()) == {
        "benchmark": ["toy version 2"],
        "method": ["ours by eve"],
        "state": ["ranked, public, scored"],
        "LDS on the ranking subsets": ["0.5000 [0.4800, 0.5200]"],
        "rank": ["2 to 4"],
        "page": ["https://board.example/submissions/abc"],
    }
    assert repr(ranked) == "Submission(abc, method='ours', ranked, scored, ranking LDS=0.5000 [0.4800, 0.5200])"
    practice = Submission.of(VIEW | {"kind": "practice", "hidden": None, "warnings": ["scores.random", "new.code"]}, "")
    assert (practice.part, practice.lds, practice.rank) == ("public", 0.4, None)
    shown = cells(practice._repr_html_())
    assert shown["LDS on the public subsets"] == ["0.4000 [0.3600, 0.4400]"]
    assert shown["warning"] == [WARNINGS["scores.random"], "new.code"]
    assert "rank" not in shown


def test_submission_without_result_shows_only_its_state() -> None:
    queued = Submission.of(VIEW | {"state": "queued", "hidden": None, "public": None}, "")
    assert (queued.lds, queued.std_error, queued.confidence_interval, queued.rank) == (None, None, None, None)
    assert repr(queued) == "Submission(abc, method='ours', ranked, queued)"
    assert set(cells(queued._repr_html_())) == {"benchmark", "method", "state", "page"}


@pytest.mark.parametrize("field", ["method", "owner", "state", "warnings"])
def test_texts_of_a_server_are_escaped(field: str) -> None:
    hostile = '<img src=x onerror="alert(1)">'
    changed: dict[str, Any] = {field: [hostile] if field == "warnings" else hostile}
    shown = replace(Submission.of(VIEW, ""), **changed)._repr_html_()
    assert not re.search("<img", shown)
    assert any(hostile in value for values in cells(shown).values() for value in values)

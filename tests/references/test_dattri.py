"""`ldsboard.lds` and `dattri.metric.lds` of dattri 0.3.0, called with the same arguments: equal numbers, and equal signs."""

from __future__ import annotations

import json

import pytest

from tests.references.answers import run_with_references

pytestmark = pytest.mark.slow

PAGE = "how-to/use-from-python.md"


def test_guide_shows_what_dattri_returns_and_what_ldsboard_adds() -> None:
    headings = ("Score an array", "Use the arguments of dattri's metric")
    assert "0 failed" in run_with_references("-m", "tests.ldsboard.sessions", PAGE, *headings)


def test_both_libraries_give_the_same_numbers_and_signs() -> None:
    found = json.loads(run_with_references("-m", "tests.references.dattri_arguments"))
    assert found["version"] == "0.3.0"
    # dattri rounds SciPy's float64 values to the dtype of the scores: half a unit in the last place of numbers up to 1.
    assert found["float32"]["difference"] < 2**-24
    assert found["float64"]["difference"] < 1e-14
    assert found["bool masks"]["difference"] < 2**-24
    assert found["uint8 masks"]["difference"] < 2**-24
    for kind in ("float32", "float64", "bool masks", "uint8 masks"):
        assert found[kind]["difference of p-values"] < 1e-6
        assert found[kind]["negative"] > 10  # both signs occur
        assert found[kind]["positive"] > 10


def test_ground_truth_of_retrained_models_has_the_same_sign() -> None:
    """dattri trains, negates the loss, and scores; the example raises the value if its presence lowers the loss."""
    found = json.loads(run_with_references("-m", "tests.references.dattri_arguments", "retrain"))
    assert found["values"] < 0  # negated squared errors
    assert found["dattri"] == pytest.approx(found["ldsboard"], abs=2**-24)
    assert found["ldsboard"] > 0.5

"""`ek-fac` of a convolutional network equals kronfluence's EK-FAC with the same curvature."""

from __future__ import annotations

import json

import pytest

from tests.references.answers import PINNED, run_with_references

pytestmark = pytest.mark.slow


def test_scores_of_a_convolutional_network_are_kronfluences() -> None:
    printed = run_with_references("-m", "tests.references.kronfluence_convolutions").splitlines()[-1]
    found = json.loads(printed)
    assert found["version"] == PINNED["kronfluence"]
    assert found["lowest"] > 1 - 1e-6  # of the correlations with our scores, one for each target
    assert found["scale"] == pytest.approx(10, rel=1e-3)  # the number of classes: see the program

"""The API call that compares two submissions returns the paired difference of the library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import stats

from app.benchmarks import catalog
from app.db.models import Submission
from app.leaderboard.entries import list_entries
from app.results.comparison import compare_all, compare_with_first
from app.results.current_evaluation import scored_evaluations
from ldsboard import compare
from ldsboard.core.comparison import compare_influences
from tests.app.benchmarks import write_benchmark
from tests.app.service import npy

if TYPE_CHECKING:
    from ldsboard.core.result import Result
    from tests.app.benchmarks import Example
    from tests.app.service import Service


def _compare(service: Service, a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    response = service.client.get("/compare", params={"a": a["id"], "b": b["id"]})
    assert response.status_code == 200, response.text
    view: dict[str, Any] = response.json()
    return view


def _two_digits(value: float) -> float:
    return float(f"{value:.2g}")


def _published_difference(a: Result, b: Result) -> float:
    return round(round(a.lds, 4) - round(b.lds, 4), 4)


def _published_interval(view: dict[str, Any]) -> tuple[float, float]:
    half = stats.t.ppf(0.975, 119) * view["std_error"]
    return round(view["difference"] - half, 4), round(view["difference"] + half, 4)


def test_difference_on_hidden_subsets_is_rounded(service: Service, token: str, toy: Example) -> None:
    scores = [toy.scores(0.5), toy.scores(0.8, seed=1)]
    a, b = (service.submit_and_score(token, "toy", npy(array)) for array in scores)
    results = [toy.offline(array)["ranking"] for array in scores]
    expected = compare_influences(_published_difference(*results), *(result.influence for result in results))
    forward, backward = _compare(service, a, b), _compare(service, b, a)
    assert forward == {
        "a": a["id"],
        "b": b["id"],
        "benchmark": {"name": "toy", "version": 1},
        "part": "ranking",
        "lds": [round(result.lds, 4) for result in results],
        "difference": round(expected.difference, 4),
        "std_error": round(expected.std_error, 4),
        "z": _two_digits(expected.z),
        "p_value": _two_digits(expected.p_value),
        "ci": list(_published_interval(forward)),
        "replicates": [1, 1],
        "spread": None,
        "note": "these two files; how much a rerun moves is not known",
        "uses_subsets": [False, False],
    }
    assert (backward["difference"], backward["z"]) == (-forward["difference"], -forward["z"])
    assert (backward["std_error"], backward["p_value"]) == (forward["std_error"], forward["p_value"])


def test_difference_on_hidden_subsets_is_the_difference_of_the_published_values(service: Service, toy: Example) -> None:
    """Differences of unrounded numbers, of one entry from many others, would reveal further digits of all entries."""
    token = service.token("differing")
    first = toy.offline(toy.scores(0.5))["ranking"]
    # An entry for which the two ways to compute the difference disagree.
    others = {noise: toy.offline(toy.scores(noise))["ranking"] for noise in np.linspace(0.6, 1.6, 21)}
    noise, other = next(
        (noise, other)
        for noise, other in others.items()
        if round(first.lds - other.lds, 4) != _published_difference(first, other)
    )
    a, b = (
        service.submit_and_score(token, "toy", npy(toy.scores(each)), method=method)
        for each, method in ((0.5, "first"), (noise, "second"))
    )
    view = _compare(service, a, b)
    assert view["difference"] == round(a["hidden"]["lds"] - b["hidden"]["lds"], 4)
    test = compare_influences(view["difference"], first.influence, other.influence)
    assert (view["z"], view["p_value"]) == (_two_digits(test.z), _two_digits(test.p_value))
    with service.database.read() as session:
        version = catalog.find_version(session, "toy")
        entries = {entry.id: entry for entry in list_entries(session, version)}
        (gap,) = compare_with_first(session, version, [entries[view["id"]] for view in (a, b)])
    assert gap.difference == view["difference"]


def test_interval_on_hidden_subsets_is_computed_from_rounded_numbers(
    service: Service, token: str, toy: Example, open_toy: Example
) -> None:
    for example, hidden in ((toy, True), (open_toy, False)):
        scores = [example.scores(0.5), example.scores(0.8, seed=1)]
        ids = [service.submit_and_score(token, example.name, npy(array))["id"] for array in scores]
        found = compare(*(example.offline(array)["ranking"] for array in scores))
        half = stats.t.ppf(0.975, 119) * found.std_error
        expected = (found.difference - half, found.difference + half)
        with service.database.read() as session:
            submissions = [session.get_one(Submission, submission_id) for submission_id in ids]
            (pair,) = compare_all(session, scored_evaluations(session, submissions))
        if hidden:
            # Interval ends computed from rounded numbers disclose no further digit.
            half_width = stats.t.ppf(0.975, 119) * pair.std_error
            assert pair.ci == (round(pair.difference - half_width, 4), round(pair.difference + half_width, 4))
            assert pair.ci == pytest.approx(expected, abs=2e-4)
        else:
            assert pair.ci == pytest.approx(expected, abs=1e-12)
            assert pair.ci != (round(pair.ci[0], 4), round(pair.ci[1], 4))


def test_practice_submission_is_compared_on_public_subsets_in_full_precision(
    service: Service, token: str, toy: Example
) -> None:
    scores = [toy.scores(0.5), toy.scores(0.8, seed=1)]
    a = service.submit_and_score(token, "toy", npy(scores[0]), kind="practice")
    b = service.submit_and_score(token, "toy", npy(scores[1]))
    expected = compare(*(toy.offline(array)["public"] for array in scores))
    view = _compare(service, a, b)
    assert view["part"] == "public"
    assert (view["difference"], view["std_error"]) == (expected.difference, expected.std_error)
    assert (view["z"], view["p_value"]) == (expected.z, pytest.approx(expected.p_value, abs=1e-12))


def test_difference_on_an_open_benchmark_has_full_precision(service: Service, token: str, open_toy: Example) -> None:
    scores = [open_toy.scores(0.5), open_toy.scores(0.8, seed=1)]
    a, b = (service.submit_and_score(token, "open-toy", npy(array)) for array in scores)
    expected = compare(*(open_toy.offline(array)["ranking"] for array in scores))
    assert _compare(service, a, b)["difference"] == expected.difference


def test_submission_compared_with_itself_has_no_difference(service: Service, token: str, toy: Example) -> None:
    a = service.submit_and_score(token, "toy", npy(toy.scores()))
    view = _compare(service, a, a)
    assert (view["difference"], view["std_error"], view["z"], view["p_value"]) == (0, 0, 0, 1)


def test_submissions_to_different_versions_cannot_be_compared(
    service: Service, token: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    sent = []
    for version in (1, 2):
        example = write_benchmark(tmp_path_factory.mktemp("versions"), "versions", version=version, n=50 + version)
        service.publish(example.folder)
        sent.append(service.submit_and_score(token, "versions", npy(example.scores()))["id"])
    response = service.client.get("/compare", params={"a": sent[0], "b": sent[1]})
    assert response.status_code == 409
    problem = response.json()
    assert problem["code"] == "compare.different"
    assert problem["got"] == "versions version 1 (scorer version 1) and versions version 2 (scorer version 1)"

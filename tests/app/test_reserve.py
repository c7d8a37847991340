"""Ranked submissions are scored on the reserve too; only the operator learns the result, until the benchmark is retired."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

from app.cli.maintenance import find_inconsistencies
from ldsboard import GroundTruth
from ldsboard.bundle import Bundle
from ldsboard.subsets import draw_reserve
from tests.app.benchmarks import HIDDEN_SEED, Example, write_benchmark
from tests.app.commands import run_in_process
from tests.app.service import npy

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.app.harness import ServiceHarness
    from tests.app.service import Service

HIDDEN = 200


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory, service: Service) -> Example:
    """A published benchmark with 160 answered hidden subsets and 40 in reserve, whose models are noisy."""
    example = write_benchmark(tmp_path_factory.mktemp("held"), "held", ranking=HIDDEN, noise=12.0, reserve=True)
    service.publish(example.folder)
    return example


def answered_and_reserve(example: Example) -> tuple[GroundTruth, GroundTruth]:
    """Return the ground truth of the answered hidden subsets and of the reserve, from the arrays of the hidden part."""
    hidden, in_reserve = example.bundle.hidden(), np.zeros(HIDDEN, dtype=np.bool_)
    in_reserve[list(draw_reserve(HIDDEN_SEED, HIDDEN))] = True
    answered, reserve = (
        GroundTruth(hidden.masks_Mn[rows], hidden.margins_MRN[rows]) for rows in (~in_reserve, in_reserve)
    )
    return answered, reserve


def fitted_scores(example: Example) -> NDArray[np.float32]:
    """Return scores that are fitted to the answered hidden subsets, by ridge regression."""
    truth, _ = answered_and_reserve(example)
    centred_Mn = truth.masks_Mn - truth.masks_Mn.mean(axis=0)
    system_nn = centred_Mn.T @ centred_Mn + np.eye(truth.n_train)
    return np.linalg.solve(system_nn, centred_Mn.T @ truth.margins_MN).astype(np.float32)


def views(service: Service, view: dict[str, Any]) -> str:
    """Return the page and the API's answer of a submission as one text."""
    return service.client.get(service.url + view["links"]["page"]).text + json.dumps(view)


def test_answered_numbers_are_of_the_answered_rows_and_the_reserve_is_stored(
    service: Service, token: str, held: Example
) -> None:
    scores_nN = held.scores()
    view = service.submit_and_score(token, "held", npy(scores_nN), method="honest")
    answered, reserve = (truth.score(scores_nN) for truth in answered_and_reserve(held))
    assert view["hidden"]["lds"] == round(answered.lds, 4) != round(reserve.lds, 4)
    stored = service.measurements(view["id"])
    assert {part: found.lds for part, found in stored.items() if part != "public"} == {
        "ranking": answered.lds,
        "reserve": reserve.lds,
    }
    assert np.array_equal(np.frombuffer(stored["reserve"].influence, "<f8"), reserve.influence)
    assert view["reserve"] is None
    assert f"{reserve.lds:.4f}" not in views(service, view)
    assert service.client.get("/benchmarks/held").json()["subsets"] == {"public": 40, "ranking": 160}
    assert service.client.get("/benchmarks/held").json()["reserve_subsets"] == 40


def test_practice_submission_is_not_scored_on_the_reserve(service: Service, token: str, held: Example) -> None:
    view = service.submit_and_score(token, "held", npy(held.scores(0.7)), method="practice", kind="practice")
    assert service.measurements(view["id"]).keys() == {"public"}


def test_fitted_file_is_flagged_to_the_operator_only(service: Service, token: str, held: Example) -> None:
    honest = service.submit_and_score(token, "held", npy(held.scores(0.4)), method="honest-too")
    fitted = service.submit_and_score(token, "held", npy(fitted_scores(held)), method="fitted")
    listed = run_in_process(service, "benchmark", "reserve", "held").stdout.splitlines()
    assert listed[0] == "held version 1: 160 ranking subsets are answered, 40 are in the reserve."
    assert listed[1].startswith(f"{fitted['id']}  fitted by alice  LDS {fitted['hidden']['lds']:.4f}  reserve ")
    assert [line for line in listed if "FLAGGED" in line] == listed[1:2]
    assert any(line.startswith(honest["id"]) for line in listed[2:])
    assert re.fullmatch(r"\d+ submissions, 1 flagged\.", listed[-1])
    assert "1 flagged by the reserve" in run_in_process(service, "benchmark", "list").stdout
    warnings = [line for line in service.log.read_text().splitlines() if "reserve.flagged" in line]
    assert [f"submission={fitted['id']}" in line and "level=warning" in line for line in warnings] == [True]
    shown = views(service, fitted) + service.client.get(f"{service.url}/benchmarks/held").text
    assert not re.search("flagged|FLAGGED", shown)


def test_benchmark_without_reserve_says_so(service: Service, toy: Example) -> None:
    assert toy.bundle.hidden().reserve == ()
    assert run_in_process(service, "benchmark", "reserve", "toy").stdout == "toy version 1 has no reserve.\n"
    assert run_in_process(service, "benchmark", "reserve", "nothing").exit_code == 2


def test_about_page_states_the_reserve(service: Service, held: Example) -> None:
    page = service.client.get(f"{service.url}/benchmarks/{held.name}/about").text
    assert "40 hidden subsets are the <strong>reserve</strong>" in page
    assert "<strong>reserve</strong>" not in service.client.get(f"{service.url}/benchmarks/toy/about").text


def test_retirement_opens_the_reserve_and_ends_submissions(service: Service, token: str, tmp_path: Path) -> None:
    example = write_benchmark(tmp_path / "first", "ending", ranking=HIDDEN, reserve=True)
    service.publish(example.folder)
    scores_nN = example.scores(0.8)
    view = service.submit_and_score(token, "ending", npy(scores_nN))
    declined = run_in_process(service, "benchmark", "retire", "ending")  # no answer
    assert "Retire ending? It will take no more submissions. This cannot be undone. [y/N]" in declined.stdout
    assert declined.exit_code == 1
    assert run_in_process(service, "benchmark", "retire", "ending", "--yes").exit_code == 0
    opened = service.client.get(view["links"]["self"].removeprefix("/api/v1")).json()
    _, reserve = (truth.score(scores_nN) for truth in answered_and_reserve(example))
    low, high = reserve.confidence_interval
    assert opened["reserve"] == {
        "lds": round(reserve.lds, 4),
        "std_error": round(reserve.std_error, 4),
        "ci": [round(low, 4), round(high, 4)],
    }
    assert opened["hidden"] == view["hidden"]
    page = service.client.get(service.url + view["links"]["page"]).text
    assert "40 reserve</a></th>" in page
    assert f"{reserve.lds:.4f}" in page
    for path in ("", "/about", "/submit"):
        assert "retired" in service.client.get(f"{service.url}/benchmarks/ending{path}").text
    refused = service.submit(token, "ending", npy(example.scores(0.9)))
    assert (refused.status_code, refused.json()["code"]) == (httpx.codes.CONFLICT, "benchmark.retired")
    assert run_in_process(service, "benchmark", "retire", "ending").exit_code == 2
    second = write_benchmark(tmp_path / "second", "ending", version=2)
    assert "is retired" in run_in_process(service, "benchmark", "publish", str(second.folder)).stderr


def test_chosen_reserve_is_not_published(service: Service, held: Example, tmp_path: Path) -> None:
    shutil.copytree(held.folder, tmp_path / "chosen")
    path = tmp_path / "chosen" / "hidden" / "hidden.json"
    members = json.loads(path.read_text())
    members["reserve"] = [0, *members["reserve"][1:]] if members["reserve"][0] else [1, *members["reserve"][1:]]
    path.write_text(json.dumps(members))
    assert Bundle.open(tmp_path / "chosen").hidden()
    refused = run_in_process(service, "benchmark", "publish", str(tmp_path / "chosen"))
    assert "The reserve differs from the 40 subsets that the hidden seed draws" in refused.stderr


def test_doctor_finds_a_reserve_that_was_removed_after_publication(harness: ServiceHarness, tmp_path: Path) -> None:
    example = write_benchmark(tmp_path / "held", "held", ranking=HIDDEN, reserve=True)
    harness.publish(example.folder)
    assert find_inconsistencies(harness.database, harness.storage, harness.benchmarks) == []
    path = harness.benchmarks / "held" / "1" / "hidden" / "hidden.json"
    members = json.loads(path.read_text())
    del members["reserve"]
    path.write_text(json.dumps(members))
    (found,) = find_inconsistencies(harness.database, harness.storage, harness.benchmarks)
    assert "0 subsets in the reserve, not 40 as published" in found

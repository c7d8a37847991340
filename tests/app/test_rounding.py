"""Hidden subsets are not disclosed in any response or log, and the API description lists the public calls.

`tests/app/disclosure` requests every address as every viewer.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

import pytest

from app.db.models import Measurement
from app.leaderboard.disclosure import (
    benchmark_numbers,
    lds_difference,
    public_numbers,
    ranking_numbers,
    round_for_publication,
)
from tests.app.benchmarks import write_benchmark
from tests.app.disclosure.board import hidden_numbers
from tests.app.disclosure.contents import contents
from tests.app.service import npy

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.service import Service


def test_no_response_contains_hidden_data(service: Service, tmp_path_factory: pytest.TempPathFactory) -> None:
    example = write_benchmark(tmp_path_factory.mktemp("secret"), "secret")
    service.publish(example.folder)
    token = service.token("visitor")
    sent = [example.scores(0.5), example.scores(1.0)]
    ids = [service.submit_and_score(token, "secret", npy(scores))["id"] for scores in sent]
    paths = [
        "/benchmarks",
        "/benchmarks/secret",
        "/benchmarks/secret/public.npz",
        "/benchmarks/secret/kit.zip",
        "/benchmarks/secret/leaderboard",
        "/benchmarks/secret/leaderboard?format=csv",
        *(f"/submissions/{submission_id}" for submission_id in ids),
        *(f"/submissions/{submission_id}/per-target.npz" for submission_id in ids),
        f"/compare?a={ids[0]}&b={ids[1]}",
        *(f"{service.url}/submissions/{submission_id}" for submission_id in ids),
        *(f"{service.url}/submissions/{ids[0]}?target={target}" for target in range(7)),
        f"{service.url}/submissions/{ids[0]}/state",
        f"{service.url}/compare?a={ids[0]}&b={ids[1]}",
        *(f"{service.url}/{page}" for page in ("", "benchmarks/secret", "benchmarks/secret/about")),
        f"{service.url}/benchmarks/secret/feed.atom",
    ]
    answers = {path: service.client.get(path) for path in paths}
    assert {path for path, answer in answers.items() if answer.status_code != 200} == set()
    numbers = hidden_numbers(service.database, [example])
    bodies = {path: answer.content for path, answer in answers.items()}
    bodies |= {f"headers of {path}": str(answer.headers).encode() for path, answer in answers.items()}
    bodies["the log"] = service.log.read_bytes()
    found = [
        (content.place, number)
        for path, body in bodies.items()
        for content in contents(path, body)
        for number in numbers.find(content)
    ]
    assert found == []


@pytest.mark.parametrize(
    "path", ["/benchmarks/toy/hidden.npz", "/benchmarks/toy/hidden/hidden.json", "/benchmarks/toy/downloads/public.npz"]
)
def test_files_outside_the_downloads_are_not_served(service: Service, path: str) -> None:
    assert service.client.get(path).status_code == 404


def test_hidden_numbers_are_rounded_before_they_are_published() -> None:
    numbers = {"lds": 0.123456789, "std_error": 0.000149, "z": -12.345, "z_random": 0.04567, "p_value": 1.2345e-9}
    numbers |= {"difference": -0.00005001, "mean_p": 0.98765, "p_random": 0.0026998}
    assert round_for_publication(numbers, "open") == numbers
    assert round_for_publication(numbers, "protected") == {
        "lds": 0.1235,
        "std_error": 0.0001,
        "z": -12.0,
        "z_random": 0.046,
        "p_value": 1.2e-9,
        "difference": -0.0001,
        "mean_p": 0.99,
        "p_random": 0.0027,
    }


def test_numbers_of_a_benchmark_are_rounded_before_they_are_published() -> None:
    exact: dict[str, Any] = {"ceiling": 0.91234567, "ceiling_std_error": 0.01234567, "attempts_spectrum": 0.45678912}
    exact |= {"null_band": {"unrelated": 0.03333333, "shared": 0.06666666}}
    assert benchmark_numbers(exact | {"split": "open", "name": "toy"}) == exact
    assert benchmark_numbers(exact | {"split": "protected", "name": "toy"}) == {
        "ceiling": 0.9123,
        "ceiling_std_error": 0.0123,
        "attempts_spectrum": 0.4568,
        "null_band": {"unrelated": 0.0333, "shared": 0.0667},
    }
    unknown = exact | {"split": "open", "ceiling": None, "ceiling_std_error": None}
    assert (benchmark_numbers(unknown)["ceiling"], benchmark_numbers(unknown)["ceiling_std_error"]) == (None, None)


def test_error_for_new_targets_is_rounded_on_hidden_subsets_only() -> None:
    numbers = dict.fromkeys(("lds", "std_error", "ci_low", "ci_high", "mean_p", "z_random", "p_random"), 0.5)
    measured, rank = Measurement(**numbers, std_error_new_targets=0.023456789), (1, 1)
    manifest: dict[str, Any] = {"split": "protected", "ceiling": None, "ranking": None, "subsets": {"ranking": 100}}
    assert ranking_numbers(measured, manifest, rank).std_error_new_targets == 0.0235
    assert ranking_numbers(measured, manifest | {"split": "open"}, rank).std_error_new_targets == 0.023456789
    assert public_numbers(measured).std_error_new_targets == 0.023456789
    for unknown in (None, math.nan):
        measured.std_error_new_targets = unknown
        assert ranking_numbers(measured, manifest, rank).std_error_new_targets is None
        assert public_numbers(measured).std_error_new_targets is None


def test_share_of_an_imprecise_ceiling_is_not_published() -> None:
    names = ("lds", "std_error", "ci_low", "ci_high", "mean_p", "z_random", "p_random", "std_error_new_targets")
    measured = Measurement(**dict.fromkeys(names, 0.3))
    manifest: dict[str, Any] = {"split": "protected", "ceiling": 0.5, "ranking": None, "subsets": {"ranking": 100}}
    for error, share in ((0.05004, 0.6), (0.0502, None)):
        assert ranking_numbers(measured, manifest | {"ceiling_std_error": error}, (1, 1)).of_ceiling == share


def test_difference_is_computed_from_published_values() -> None:
    assert lds_difference(0.12344, 0.12336, "protected") == 0
    assert lds_difference(0.12346, 0.12344, "protected") == 0.0001
    assert lds_difference(0.12346, 0.12344, "open") == 0.12346 - 0.12344


def test_log_has_one_line_per_event_and_no_tokens(service: Service, token: str, toy: Example) -> None:
    view = service.submit_and_score(token, "toy", npy(toy.scores(seed=4711)))
    lines = service.log.read_text().splitlines()
    start = r"timestamp=\S+Z level=info event=submission\."
    for end in (
        rf"accepted submission={view['id']} request=[0-9a-f]{{16}}",
        rf"scored submission={view['id']} seconds=[\d.]+",
    ):
        assert len([line for line in lines if re.fullmatch(start + end, line)]) == 1
    assert len([line for line in lines if view["id"] in line]) == 3  # with evaluation.started
    assert "ldsb_" not in "".join(lines)


def test_openapi_lists_the_main_calls_and_no_internal_paths(service: Service) -> None:
    description = service.client.get("/openapi.json").json()
    assert description["openapi"].startswith("3.")
    calls = {(method, path) for path, methods in description["paths"].items() for method in methods}
    assert {
        ("get", "/api/v1/benchmarks"),
        ("get", "/api/v1/benchmarks/{name}"),
        ("get", "/api/v1/benchmarks/{name}/public.npz"),
        ("get", "/api/v1/benchmarks/{name}/kit.zip"),
        ("get", "/api/v1/benchmarks/{name}/leaderboard"),
        ("put", "/api/v1/benchmarks/{name}/submissions"),
        ("get", "/api/v1/submissions/{submission_id}"),
        ("get", "/api/v1/submissions/{submission_id}/per-target.npz"),
        ("get", "/api/v1/compare"),
        ("get", "/healthz"),
        ("get", "/readyz"),
    } <= calls
    # The description contains no internal names.
    text = json.dumps(description)
    assert "hidden.json" not in text
    assert str(service.settings.data_dir) not in text


def test_health_checks_need_no_token(service: Service) -> None:
    for path, status in (("healthz", "alive"), ("readyz", "ready")):
        response = service.client.get(f"{service.url}/{path}")
        assert (response.status_code, response.json()["status"]) == (200, status)


def test_server_without_its_storage_folder_is_alive_but_not_ready(service: Service) -> None:
    folder = service.settings.storage_dir
    aside = folder.rename(folder.with_name("aside"))
    try:
        response = service.client.get(f"{service.url}/readyz")
        assert response.status_code == 503
        assert response.json()["code"] == "internal.unready"
        assert service.client.get(f"{service.url}/healthz").status_code == 200
    finally:
        aside.rename(folder)

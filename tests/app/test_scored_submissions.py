"""Submissions from upload to result: accepted, scored with the library's numbers, and shown."""

from __future__ import annotations

import io
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ldsboard import GroundTruth
from ldsboard.core.significance import spearman_p_values
from tests.app.service import npy
from tests.ldsboard.files import npz_bytes

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.service import Service


def test_upload_is_accepted_queued_and_scored(service: Service, token: str, toy: Example) -> None:
    response = service.submit(token, "toy", npy(toy.scores()), method="flow", title="  Our method ", seconds="12.5")
    assert response.status_code == 202
    view = response.json()
    assert response.headers["Location"] == view["links"]["self"] == f"/api/v1/submissions/{view['id']}"
    assert view["state"] in {"queued", "scoring", "scored"}
    assert (view["owner"], view["method"], view["title"], view["kind"]) == ("alice", "flow", "Our method", "ranked")
    assert view["benchmark"] == {"name": "toy", "version": 1}
    assert view["cost"] == {"seconds": 12.5}
    done = service.wait_until_final(view["id"])
    assert done["state"] == "scored"
    assert done["queue"] is None
    assert done["error"] is None
    assert service.events(view["id"]) == [
        (None, "uploading"),
        ("uploading", "queued"),
        ("queued", "scoring"),
        ("scoring", "scored"),
    ]


def test_ranked_submission_shows_exact_public_and_rounded_hidden_numbers(
    service: Service, token: str, toy: Example
) -> None:
    scores_nN = toy.scores(noise=0.5)
    view = service.submit_and_score(token, "toy", npy(scores_nN), method="shown")
    offline = toy.offline(scores_nN)
    public, hidden = offline["public"], offline["ranking"]
    assert view["public"] == {
        "lds": public.lds,
        "std_error": public.std_error,
        "ci": list(public.confidence_interval),
        "mean_p": public.mean_p,
        "z_random": public.z_random,
        "p_random": public.p_random,
        "std_error_new_targets": public.std_error_new_targets,
        "targets": asdict(public.target_summary),
    }
    low, high = hidden.confidence_interval
    ceiling = toy.bundle.manifest.ceiling
    assert ceiling is not None
    shown = view["hidden"]
    # The place depends on the other entries of the board.
    assert shown.pop("rank")
    assert {type(shown.pop(name)) for name in ("in_family", "separable_from_first")} <= {bool, type(None)}
    assert shown.pop("listed") is True
    assert shown == {
        "lds": round(hidden.lds, 4),
        "std_error": round(hidden.std_error, 4),
        "ci": [round(low, 4), round(high, 4)],
        "of_ceiling": round(round(hidden.lds, 4) / round(ceiling, 4), 4),
        "z_random": float(f"{hidden.z_random:.2g}"),
        "p_random": float(f"{hidden.p_random:.2g}"),
        "std_error_new_targets": round(hidden.std_error_new_targets, 4),
        "fitted": False,
    }
    measured = service.measurements(view["id"])
    for part, result in offline.items():
        assert measured[part].lds == result.lds
        assert measured[part].std_error == result.std_error
        assert (measured[part].ci_low, measured[part].ci_high) == result.confidence_interval
        assert (measured[part].z_random, measured[part].p_random) == (result.z_random, result.p_random)
        assert measured[part].std_error_new_targets == result.std_error_new_targets
        assert measured[part].influence == result.influence.tobytes()
        assert measured[part].per_target == result.per_target.tobytes()


def test_p_values_in_the_summary_over_targets_are_those_of_the_public_subsets(
    service: Service, token: str, toy: Example
) -> None:
    scores_nN = toy.scores(noise=3.0)
    result = toy.offline(scores_nN)["public"]
    view = service.submit_and_score(token, "toy", npy(scores_nN), kind="practice", method="rough")
    share = view["public"]["targets"]["share_p05"]
    assert share == np.mean(result.p_values < 0.05)
    # With the number of ranking subsets, the same correlations would have other p-values.
    assert share < np.mean(spearman_p_values(result.per_target, toy.bundle.manifest.subsets["ranking"]) < 0.05)


def test_list_of_submissions_has_the_numbers_without_the_summary_over_targets(
    service: Service, token: str, toy: Example
) -> None:
    view = service.submit_and_score(token, "toy", npy(toy.scores(seed=3)), kind="practice", method="listed")
    listed = service.client.get("/users/me/submissions", headers={"Authorization": f"Bearer {token}"}).json()
    (found,) = [each for each in listed if each["id"] == view["id"]]
    assert view["public"]["targets"]
    assert found["public"] == view["public"] | {"targets": None}


def test_practice_submission_is_scored_on_public_subsets_and_not_listed(
    service: Service, token: str, toy: Example
) -> None:
    scores_nN = toy.scores(noise=0.7)
    view = service.submit_and_score(token, "toy", npy(scores_nN), method="rehearsal", kind="practice")
    assert view["kind"] == "practice"
    assert view["hidden"] is None
    assert view["public"]["lds"] == GroundTruth(toy.bundle.masks_Mn, toy.bundle.margins_MRN).score(scores_nN).lds
    assert set(service.measurements(view["id"])) == {"public"}
    rows = service.client.get("/benchmarks/toy/leaderboard").json()["rows"]
    assert all(row["id"] != view["id"] for row in rows)


def test_file_of_which_only_the_transpose_fits_is_transposed_and_this_is_said(
    service: Service, token: str, toy: Example
) -> None:
    scores_nN = toy.scores(noise=0.3, seed=11)
    plain = service.submit_and_score(token, "toy", npy(scores_nN), method="plain")
    for name, content in (("npy", npy(scores_nN.T)), ("npz", npz_bytes(scores_nN.T))):
        view = service.submit_and_score(token, "toy", content, method=f"turned-{name}")
        assert (view["public"], view["hidden"]["lds"]) == (plain["public"], plain["hidden"]["lds"])
        assert view["warnings"] == [*plain["warnings"], "scores.was_transposed"]
        assert service.measurements(view["id"]).keys() == service.measurements(plain["id"]).keys()
        page = service.client.get(f"{service.url}/submissions/{view['id']}").text
        assert "so the file was transposed" in page
    assert service.submit(token, "toy", npy(scores_nN.T[1:])).json()["code"] == "scores.shape"


def test_open_benchmark_shows_exact_ranking_numbers(service: Service, token: str, open_toy: Example) -> None:
    scores_nN = open_toy.scores()
    view = service.submit_and_score(token, "open-toy", npy(scores_nN))
    ranking = open_toy.offline(scores_nN)["ranking"]
    bundle = open_toy.bundle
    assert ranking.lds == GroundTruth(bundle.masks_Mn[40:], bundle.margins_MRN[40:]).score(scores_nN).lds
    assert view["hidden"]["lds"] == ranking.lds
    assert view["hidden"]["std_error"] == ranking.std_error
    assert view["hidden"]["std_error_new_targets"] == ranking.std_error_new_targets
    assert view["public"]["targets"] == asdict(open_toy.offline(scores_nN)["public"].target_summary)
    assert bundle.manifest.ceiling is not None
    assert view["hidden"]["of_ceiling"] == ranking.lds / bundle.manifest.ceiling
    rows = service.client.get("/benchmarks/open-toy/leaderboard").json()["rows"]
    (row,) = [row for row in rows if row["id"] == view["id"]]
    assert (row["lds"], row["std_error"], tuple(row["ci"])) == (
        ranking.lds,
        ranking.std_error,
        ranking.confidence_interval,
    )


@pytest.mark.parametrize("dtype", ["<f2", ">f4", "<f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_dtype_and_memory_order_scores_as_in_the_library(
    service: Service, token: str, toy: Example, dtype: str, order: str
) -> None:
    scores_nN = toy.scores().astype(dtype)
    content = npy(np.asfortranarray(scores_nN) if order == "F" else scores_nN)
    view = service.submit_and_score(token, "toy", content, kind="practice")
    assert view["public"]["lds"] == GroundTruth(toy.bundle.masks_Mn, toy.bundle.margins_MRN).score(scores_nN).lds


def test_public_per_target_numbers_can_be_downloaded(service: Service, token: str, toy: Example) -> None:
    scores_nN = toy.scores()
    view = service.submit_and_score(token, "toy", npy(scores_nN))
    response = service.client.get(view["links"]["per_target"].removeprefix("/api/v1"))
    assert response.headers["Content-Type"] == "application/zip"
    with np.load(io.BytesIO(response.content)) as arrays:
        assert arrays["rho"].tobytes() == toy.offline(scores_nN)["public"].per_target.tobytes()


@pytest.mark.parametrize(
    ("sign", "code"), [(-1, "scores.sign_flipped"), (0, "scores.random")], ids=["flipped", "constant"]
)
def test_result_contains_warnings(service: Service, token: str, toy: Example, sign: int, code: str) -> None:
    view = service.submit_and_score(token, "toy", npy(sign * toy.scores()), kind="practice")
    assert code in view["warnings"]


def test_file_sent_for_two_methods_is_stored_once(service: Service, token: str, toy: Example) -> None:
    content = npy(toy.scores(seed=77))
    first = service.submit_and_score(token, "toy", content, kind="practice")
    before = service.files()
    second = service.submit_and_score(token, "toy", content, kind="practice", method="theirs")
    assert service.files() == before
    assert second["id"] != first["id"]
    assert second["public"] == first["public"]


def test_queued_submissions_show_their_queue_position(service: Service, token: str, toy: Example) -> None:
    content = npy(toy.scores())
    views = [service.submit(token, "toy", content, kind="practice").json() for _ in range(4)]
    places = [view["queue"]["position"] for view in views if view["state"] == "queued"]
    assert places == sorted(places)
    assert all(service.wait_until_final(view["id"])["state"] == "scored" for view in views)


def test_benchmark_list_shows_sizes_split_and_ceiling(service: Service, toy: Example, open_toy: Example) -> None:
    listed = {view["name"]: view for view in service.client.get("/benchmarks").json()}
    assert {"toy", "open-toy"} <= set(listed)
    view = service.client.get("/benchmarks/toy").json()
    manifest = toy.bundle.manifest
    assert view == listed["toy"]
    assert (view["n_train"], view["n_targets"], view["runs"]) == (60, 7, 2)
    assert view["subsets"] == {"public": 40, "ranking": 120}
    assert (view["split"], listed["open-toy"]["split"]) == ("protected", "open")
    band = {name: round(width, 4) for name, width in manifest.null_band.items()}
    assert (view["ceiling"], view["null_band"]) == (round(manifest.ceiling or 0, 4), band)
    exact = open_toy.bundle.manifest
    assert (listed["open-toy"]["ceiling"], listed["open-toy"]["null_band"]) == (exact.ceiling, exact.null_band)
    assert (view["version"], view["versions"]) == (1, [1])

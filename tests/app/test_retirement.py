"""After the retirement of a benchmark, owners can read the reserve, and no upload or edit may change the board."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest
from sqlalchemy import select

from app.benchmarks import catalog
from app.db.base import now
from app.db.models import Event, State
from app.pages.content.formatting import number
from app.submissions import lifecycle
from ldsboard.problems import ProblemError
from tests.app.benchmarks import Example, write_benchmark
from tests.app.commands import run_in_process
from tests.app.multipart_upload import MultipartUpload
from tests.app.service import npy

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.harness import ServiceHarness
    from tests.app.service import Service


class Retired(NamedTuple):
    """A retired benchmark, the token of an owner, and the owner's submissions from before, by method and number."""

    token: str
    ids: dict[str, str]
    upload: MultipartUpload


def publish(service: Service, folder: Path, name: str) -> Example:
    example = write_benchmark(folder, name, ranking=150, reserve=True)
    service.publish(example.folder)
    return example


def retire(service: Service, name: str) -> None:
    assert run_in_process(service, "benchmark", "retire", name, "--yes").exit_code == 0


@pytest.fixture(scope="module")
def retired(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Retired:
    example = publish(service, tmp_path_factory.mktemp("over"), "over")
    token = service.token("zora", ranked_per_day=1000, ranked_per_version=1000)
    ids = {}
    for place, method in enumerate(("two", "two", "one", "hidden", "alias")):
        content = npy(example.scores(0.5 + place / 10, seed=place))
        ids[f"{method} {place}"] = service.submit_and_score(token, "over", content, method=method)["id"]
    ids["practice"] = service.submit_and_score(token, "over", npy(example.scores(1, seed=9)), kind="practice")["id"]
    upload = MultipartUpload(service, token, "over", npy(example.scores(0.05, seed=20)), method="late").started()
    upload.put_all_parts()
    sender = Retired(token, ids, upload)
    for name, visibility in (("hidden 3", "private"), ("alias 4", "anonymous"), ("practice", "private")):
        assert edit(service, sender, name, visibility=visibility).is_success
    retire(service, "over")
    return sender


def edit(service: Service, retired: Retired, name: str, **changes: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {retired.token}"}
    return service.client.patch(f"/submissions/{retired.ids[name]}", json=changes, headers=headers)


def listed(service: Service, name: str = "over") -> list[tuple[str, str, Any]]:
    rows = service.client.get(f"/benchmarks/{name}/leaderboard").json()["rows"]
    return [(row["id"], row["owner"], row["lds"]) for row in rows]


def is_refused(response: httpx.Response) -> bool:
    return (response.status_code, response.json()["code"]) == (httpx.codes.CONFLICT, "benchmark.retired")


def test_upload_from_before_expires_and_is_not_completed(service: Service, retired: Retired) -> None:
    before = listed(service)
    assert is_refused(retired.upload.complete())
    assert is_refused(retired.upload.put_part(0))
    headers = {"Authorization": f"Bearer {retired.token}"}
    shown = service.client.get(f"/submissions/{retired.upload.id}", headers=headers).json()
    assert (shown["state"], shown["hidden"], shown["reserve"]) == ("expired", None, None)
    with service.database.read() as session:
        events = session.scalars(select(Event.detail).where(Event.submission_id == retired.upload.id)).all()
    assert events[-1] == "benchmark.retired"
    assert listed(service) == before


def test_queued_submission_is_scored_and_an_arriving_file_is_refused(harness: ServiceHarness, toy: Example) -> None:
    queued, content = harness.accept(npy(toy.scores(0.5)), "queued"), npy(toy.scores(0.6))
    arriving = harness.reserve(len(content), "arriving", user="ben")
    with harness.database.write() as session:
        catalog.find_version(session, "toy").benchmark.retired_at = now()
    with harness.storage.receive() as arrival:
        arrival.write(content)
        arrival.flush()
        with pytest.raises(ProblemError, match="was retired on") as refused, harness.database.write() as session:
            lifecycle.accept(session, harness.storage, arriving, arrival, harness.quotas)
    assert refused.value.problem.code == "benchmark.retired"
    assert harness.state(arriving) == State.UPLOADING  # the caller expires it, as after any error
    assert harness.evaluator.evaluate_next()
    assert not harness.evaluator.evaluate_next()
    assert harness.state(queued) == State.SCORED
    assert harness.leaderboard()[2] == {queued}


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("hidden 3", {"visibility": "public"}),
        ("hidden 3", {"visibility": "anonymous"}),
        ("hidden 3", {"visibility": "public", "title": "With a title"}),
        ("two 0", {"pinned": True}),
        ("two 1", {"visibility": "anonymous"}),
        ("two 0", {"visibility": "anonymous"}),
    ],
)
def test_edit_that_adds_or_replaces_an_entry_is_refused(
    service: Service, retired: Retired, name: str, changes: dict[str, Any]
) -> None:
    before = listed(service)
    refused = edit(service, retired, name, **changes)
    assert is_refused(refused)
    assert "withdraw" in refused.json()["hint"]
    assert listed(service) == before


def test_pin_from_before_stays(service: Service, token: str, tmp_path: Path) -> None:
    example = publish(service, tmp_path, "pinned")
    first, _ = (
        service.submit_and_score(token, "pinned", npy(example.scores(noise)), method="two")["id"]
        for noise in (0.5, 0.6)
    )
    pinned = Retired(token, {"first": first}, MultipartUpload(service, token, "pinned", b""))
    assert edit(service, pinned, "first", pinned=True).is_success
    retire(service, "pinned")
    assert is_refused(edit(service, pinned, "first", pinned=False))
    assert is_refused(edit(service, pinned, "first", uses_subsets=True))  # would end another pin
    assert edit(service, pinned, "first", pinned=True, title="Same pin").is_success
    assert [row[0] for row in listed(service, "pinned")] == [first]


def test_edit_that_changes_no_entry_stays_possible(service: Service, retired: Retired) -> None:
    before = listed(service)
    assert edit(service, retired, "hidden 3", title="A title", visibility="private").is_success
    assert edit(service, retired, "practice", visibility="public").is_success
    assert edit(service, retired, "two 1", visibility="public", pinned=False, description="Text").is_success
    for visibility in ("anonymous", "public"):
        assert edit(service, retired, "one 2", visibility=visibility).is_success
        assert [(row[0], row[2]) for row in listed(service)] == [(row[0], row[2]) for row in before]


def test_owner_can_still_hide_and_withdraw(service: Service, token: str, tmp_path: Path) -> None:
    example = publish(service, tmp_path, "leaving")
    ids = {
        method: service.submit_and_score(token, "leaving", npy(example.scores(noise)), method=method)["id"]
        for method, noise in (("a", 0.5), ("b", 0.6), ("c", 0.7))
    }
    leaving = Retired(token, ids, MultipartUpload(service, token, "leaving", b""))
    retire(service, "leaving")
    assert edit(service, leaving, "a", visibility="private").is_success
    headers = {"Authorization": f"Bearer {token}"}
    assert service.client.delete(f"/submissions/{ids['b']}", headers=headers).is_success
    assert run_in_process(service, "submission", "suspend", ids["c"], "--reason", "A test").exit_code == 0
    assert listed(service, "leaving") == []
    assert is_refused(edit(service, leaving, "a", visibility="public"))


def test_review_page_shows_the_result_on_the_reserve(service: Service, retired: Retired) -> None:
    submission_id = next(iter(retired.ids.values()))
    headers = {"Authorization": f"Bearer {retired.token}"}
    reserve = service.client.get(f"/submissions/{submission_id}", headers=headers).json()["reserve"]
    link = service.client.post(f"/submissions/{submission_id}/review-link", headers=headers).json()["url"]
    page = service.client.get(link).text
    assert "30 reserve</a>" in page
    assert number(reserve["lds"]) in page

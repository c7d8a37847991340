"""Changes of a submission by its owner: texts, visibility, pins and withdrawal."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sqlalchemy import select

from app.db.accounts import Audit
from app.db.models import State
from tests.app.benchmarks import write_benchmark
from tests.app.commands import run_in_process
from tests.app.multipart_upload import MultipartUpload
from tests.app.service import npy

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from tests.app.benchmarks import Example
    from tests.app.service import Service


@pytest.fixture(scope="module")
def example(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Example:
    example = write_benchmark(tmp_path_factory.mktemp("own"), "own")
    service.publish(example.folder)
    return example


def _edit(service: Service, token: str, submission_id: str, **changes: Any) -> httpx.Response:
    return service.client.patch(
        f"/submissions/{submission_id}", json=changes, headers={"Authorization": f"Bearer {token}"}
    )


def _withdraw(service: Service, token: str, submission_id: str) -> httpx.Response:
    return service.client.delete(f"/submissions/{submission_id}", headers={"Authorization": f"Bearer {token}"})


def _board(service: Service, owner: str, name: str = "own") -> dict[str, dict[str, Any]]:
    rows = service.client.get(f"/benchmarks/{name}/leaderboard").json()["rows"]
    return {row["id"]: row for row in rows if row["owner"] == owner}


def test_edit_changes_only_the_given_fields(service: Service, example: Example) -> None:
    token = service.token("editor")
    sent = service.submit_and_score(token, "own", npy(example.scores(0.5)), method="m", title="First", kind="practice")[
        "id"
    ]
    texts = {
        "description": "Two\nlines",
        "tags": ["linear", "one-model"],
        "urls": {"paper": "https://example.org/a?b=c"},
    }
    assert _edit(service, token, sent, **texts).json().items() >= {"title": "First", **texts}.items()
    assert _edit(service, token, sent, title=" Second ").json().items() >= {"title": "Second", **texts}.items()
    assert _edit(service, token, sent, tags=[]).json()["tags"] == []
    with service.database.read() as session:
        rows = session.scalars(select(Audit).where(Audit.subject == sent).order_by(Audit.id)).all()
    assert [(row.action, row.actor, row.detail) for row in rows][1:] == [
        ("submission.edited", "editor", {"fields": ["title"]}),
        ("submission.edited", "editor", {"fields": ["tags"]}),
    ]


def test_each_link_can_be_changed_and_removed(service: Service, example: Example) -> None:
    token, paper, code = service.token("linker"), "https://example.org/paper", "https://example.org/code"
    content = npy(example.scores(0.5))
    sent = service.submit_and_score(token, "own", content, kind="practice", paper=paper)["id"]

    def links(**changes: Any) -> tuple[str | None, str | None, dict[str, str]]:
        view = _edit(service, token, sent, **changes).json()
        return view["paper"], view["code"], view["urls"]

    assert links(title="Other") == (paper, None, {"paper": paper})
    assert links(code=code) == (paper, code, {"paper": paper, "code": code})
    assert links(paper=None) == (None, code, {"code": code})
    assert links(urls={"paper": paper}) == (paper, None, {"paper": paper})
    assert links(urls={"paper": None}) == (None, None, {})


def test_audit_log_names_the_fields_of_an_edit_and_no_value(service: Service, example: Example) -> None:
    token = service.token("wordy")
    sent = service.submit_and_score(token, "own", npy(example.scores(0.5)), kind="practice")["id"]
    link = "https://example.org/" + "x" * 280
    changes = {"title": "ü" * 200, "description": "ü" * 2000, "tags": ["x" * 32] * 8, "urls": {"paper": link}}
    assert _edit(service, token, sent, **changes).status_code == 200
    with service.database.read() as session:
        (row,) = session.scalars(select(Audit).where(Audit.subject == sent)).all()
    assert row.detail == {"fields": ["description", "tags", "title", "urls"]}


@pytest.mark.parametrize(
    "changes",
    [
        {"title": ""},
        {"title": "two\nlines"},
        {"title": "x" * 201},
        {"title": "ours \u202egnp.exe"},
        {"description": "a bell\a"},
        {"description": "\u2067turned"},
        {"description": "x" * 2001},
        {"tags": ["Not a slug"]},
        {"tags": ["x"] * 9},
        {"urls": {"paper": "javascript:alert(1)"}},
        {"urls": {"other": "https://example.org"}},
        {"urls": {"code": "https://example.org"}, "paper": None},
        {"code": "ftp://example.org"},
        {"visibility": "secret"},
        {"state": "scored"},
        {"method": "another"},
    ],
)
def test_invalid_edit_is_rejected(service: Service, example: Example, changes: dict[str, Any]) -> None:
    token = service.token("careless", ranked_per_day=1000, ranked_per_version=1000)
    sent = service.submit_and_score(token, "own", npy(example.scores(0.5)), kind="practice")["id"]
    refused = _edit(service, token, sent, **changes)
    assert (refused.status_code, refused.json()["code"]) == (422, "request.invalid")
    assert service.row(sent).title == "ours"


def test_newest_entry_is_listed_until_another_is_pinned(service: Service, example: Example) -> None:
    token = service.token("pinner")
    first, second, third = (
        service.submit_and_score(token, "own", npy(example.scores(noise)), method="p")["id"]
        for noise in (0.2, 0.5, 1.0)
    )
    assert _board(service, "pinner").keys() == {third}
    for chosen in (first, second):
        assert _edit(service, token, chosen, pinned=True).json()["pinned"]
        assert _board(service, "pinner").keys() == {chosen}
        assert _board(service, "pinner")[chosen]["attempts"] == 3
    assert _edit(service, token, second, pinned=False).status_code == 200
    assert _board(service, "pinner").keys() == {third}


def test_private_entry_leaves_the_leaderboard_and_the_ranking(service: Service, tmp_path: Path) -> None:
    name = "two-alone"  # a separate benchmark, because other entries would change the ranks
    example = write_benchmark(tmp_path, name)
    service.publish(example.folder)
    token = service.token("shy")
    best = service.submit_and_score(token, name, npy(example.scores(0.01)), method="best")["id"]
    other = service.submit_and_score(service.token("second"), name, npy(example.scores(0.3)), method="next")["id"]
    assert _board(service, "second", name)[other]["rank"][0] > 1
    _edit(service, token, best, visibility="private")
    assert _board(service, "shy", name) == {}
    assert _board(service, "second", name)[other]["rank"][0] == 1
    _edit(service, token, best, visibility="public")
    assert _board(service, "second", name)[other]["rank"][0] > 1


def test_alias_is_constant_on_a_leaderboard_and_reserved(service: Service, example: Example) -> None:
    token = service.token("masked")
    aliases = set()
    for method in ("one", "two"):
        sent = service.submit_and_score(token, "own", npy(example.scores(0.7)), method=method)["id"]
        _edit(service, token, sent, visibility="anonymous")
        aliases.add(service.client.get(f"/submissions/{sent}").json()["owner"])
        assert sent in _board(service, next(iter(aliases)))
    assert len(aliases) == 1
    refused = run_in_process(service, "user", "add", aliases.pop())
    assert refused.exit_code == 2
    assert "names that begin with anonymous- are aliases" in refused.stderr


def test_withdrawn_submission_frees_its_file_and_counts_as_an_attempt(service: Service, example: Example) -> None:
    token = service.token("sorry")
    content = npy(example.scores(0.05, seed=9))
    sent = service.submit_and_score(token, "own", content, method="regretted")
    assert sent["attempts"] == 1
    name = service.row(sent["id"]).file_sha256
    assert name in service.files()
    assert _withdraw(service, token, sent["id"]).status_code == 204
    assert name not in service.files()
    assert _board(service, "sorry") == {}
    view = service.client.get(f"/submissions/{sent['id']}").json()
    assert (view["state"], view["hidden"], view["public"], view["attempts"]) == ("withdrawn", None, None, 1)
    assert service.client.get(f"/submissions/{sent['id']}/per-target.npz").status_code == 409
    assert service.events(sent["id"])[-1] == (State.SCORED, State.WITHDRAWN)
    again = _withdraw(service, token, sent["id"])
    assert (again.status_code, again.json()["code"]) == (409, "submission.gone")
    assert service.submit_and_score(token, "own", content, method="regretted")["attempts"] == 2


def test_withdrawal_keeps_a_file_that_another_user_sent(service: Service, example: Example) -> None:
    content = npy(example.scores(0.05, seed=10))
    token = service.token("first")
    mine = service.submit_and_score(token, "own", content)["id"]
    theirs = service.submit_and_score(service.token("second"), "own", content)["id"]
    assert _withdraw(service, token, mine).status_code == 204
    assert service.row(theirs).file_sha256 in service.files()
    assert service.client.get(f"/submissions/{theirs}").json()["state"] == "scored"


def test_rejected_submission_can_be_withdrawn_and_a_running_one_cannot(service: Service, example: Example) -> None:
    token = service.token("hasty")
    scores = example.scores(0.5)
    scores[0, 0] = np.inf
    rejected = service.submit(token, "own", npy(scores), kind="practice").json()["id"]
    assert service.wait_until_final(rejected)["state"] == "rejected"
    assert _withdraw(service, token, rejected).status_code == 204
    sent = service.submit_and_score(token, "own", npy(example.scores(0.5)), kind="practice")["id"]
    with service.database.write() as session:
        session.connection().exec_driver_sql("UPDATE submission SET state = 'scoring' WHERE id = ?", (sent,))
    busy = _withdraw(service, token, sent)
    assert (busy.status_code, busy.json()["code"]) == (409, "submission.busy")
    with service.database.write() as session:
        session.connection().exec_driver_sql("UPDATE submission SET state = 'scored' WHERE id = ?", (sent,))


def test_practice_and_withdrawn_submissions_cannot_be_pinned(service: Service, example: Example) -> None:
    token = service.token("sly")
    first = service.submit_and_score(token, "own", npy(example.scores(0.2)), method="p")["id"]
    second = service.submit_and_score(token, "own", npy(example.scores(0.5)), method="p")["id"]
    assert _edit(service, token, first, pinned=True).status_code == 200
    practice = service.submit_and_score(token, "own", npy(example.scores(0.5)), method="p", kind="practice")["id"]
    assert _withdraw(service, token, second).status_code == 204
    for other in (practice, second):
        refused = _edit(service, token, other, pinned=True)
        assert (refused.status_code, refused.json()["code"]) == (409, "request.conflict")
    assert _board(service, "sly").keys() == {first}


def test_withdrawn_submission_that_failed_on_the_server_is_no_attempt(service: Service, example: Example) -> None:
    token = service.token("unlucky", ranked_per_day=2)
    sent = service.submit_and_score(token, "own", npy(example.scores(0.4)), method="a")["id"]
    with service.database.write() as session:
        session.connection().exec_driver_sql(
            "UPDATE submission SET state = 'failed', error = ? WHERE id = ?", ('{"code": "internal.failed"}', sent)
        )
    assert _withdraw(service, token, sent).status_code == 204
    assert service.submit_and_score(token, "own", npy(example.scores(0.5)), method="b")["attempts"] == 1
    assert service.submit_and_score(token, "own", npy(example.scores(0.6)), method="c")["attempts"] == 2
    assert service.submit(token, "own", npy(example.scores(0.7)), method="d").status_code == 429


def test_anonymous_entry_stays_beside_a_public_entry_of_the_same_method(service: Service, example: Example) -> None:
    token = service.token("double", ranked_per_day=9)
    query = {"method": "twice"}
    masked = service.submit_and_score(token, "own", npy(example.scores(0.2, seed=1)), visibility="anonymous", **query)[
        "id"
    ]
    older = service.submit_and_score(token, "own", npy(example.scores(0.4, seed=2)), **query)["id"]
    newer = service.submit_and_score(token, "own", npy(example.scores(0.6, seed=3)), **query)["id"]

    def listed() -> set[str]:
        rows = service.client.get("/benchmarks/own/leaderboard").json()["rows"]
        return {row["id"] for row in rows} & {masked, older, newer}

    assert listed() == {masked, newer}
    assert _edit(service, token, masked, pinned=True).status_code == 200
    assert _edit(service, token, older, pinned=True).status_code == 200
    assert service.row(masked).pinned, "a pin of a public entry does not affect anonymous entries"
    assert listed() == {masked, older}
    assert _edit(service, token, masked, visibility="public").status_code == 200
    assert listed() == {masked}, "of two pinned entries, the entry that became public last is listed"
    assert not service.row(older).pinned


def test_attempts_of_an_anonymous_entry_are_shown_only_to_its_owner(service: Service, example: Example) -> None:
    token = service.token("counted", ranked_per_day=9)
    sent = service.submit_and_score(token, "own", npy(example.scores(0.3, seed=5)), visibility="anonymous")
    assert sent["attempts"] is None
    mine = service.client.get(f"/submissions/{sent['id']}", headers={"Authorization": f"Bearer {token}"}).json()
    assert (mine["attempts"], mine["owner"]) == (1, "counted")
    rows = service.client.get("/benchmarks/own/leaderboard").json()["rows"]
    row = next(row for row in rows if row["id"] == sent["id"])
    assert (row["attempts"], row["possible_gain"]) == (None, None)
    table = service.client.get("/benchmarks/own/leaderboard", params={"format": "csv"}).text
    cells = next(line for line in csv.DictReader(io.StringIO(table)) if line["id"] == sent["id"])
    assert (cells["attempts"], cells["possible_gain"]) == ("", "")


@pytest.mark.parametrize("visibility", ["anonymous", "private"])
def test_visibility_applies_from_the_start_of_an_upload(service: Service, example: Example, visibility: str) -> None:
    token = service.token(f"never-{visibility}", ranked_per_day=9)
    upload = MultipartUpload(service, token, "own", npy(example.scores(seed=6)), visibility=visibility).started()
    sent = service.submit(token, "own", npy(example.scores(seed=7)), kind="practice", visibility=visibility).json()[
        "id"
    ]
    for submission_id in (upload.id, sent):
        shown = service.client.get(f"/submissions/{submission_id}")
        assert f"never-{visibility}" not in shown.text
        assert shown.status_code == (404 if visibility == "private" else 200)
    service.client.delete(f"/submissions/{upload.id}", headers={"Authorization": f"Bearer {token}"})
    service.wait_until_idle()

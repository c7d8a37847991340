"""Badges and feeds: a badge follows the listed entry of its method, and a feed shows when entries changed."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from app.accounts.audit import OPERATOR
from app.db.base import now
from app.management import moderation
from tests.app.benchmarks import Example, write_benchmark
from tests.app.evaluated import save_falls
from tests.app.service import npy

if TYPE_CHECKING:
    import httpx

    from tests.app.service import Service

ATOM = "{http://www.w3.org/2005/Atom}"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def example(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Example:
    example = write_benchmark(tmp_path_factory.mktemp("news"), "news")
    service.publish(example.folder)
    return example


def _badge(service: Service, submission_id: str) -> tuple[int, str]:
    answer = service.client.get(f"{service.url}/submissions/{submission_id}/badge.svg")
    return answer.status_code, answer.text


def _edit(service: Service, token: str, submission_id: str, **changes: Any) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    assert service.client.patch(f"/submissions/{submission_id}", json=changes, headers=headers).status_code == 200


def test_badge_follows_the_listed_entry_of_its_method(service: Service, example: Example) -> None:
    token, rival = service.token("ann"), service.token("rival")
    service.submit_and_score(rival, "news", npy(example.scores(0.2, seed=9)), method="mine")
    first, second = (
        service.submit_and_score(token, "news", npy(example.scores(noise)), method="mine")["id"] for noise in (3.0, 0.5)
    )
    status, listed = _badge(service, second)
    assert (status, _badge(service, first)) == (200, (200, listed))
    _edit(service, token, first, pinned=True)
    pinned = _badge(service, first)
    assert pinned[1] != listed
    assert _badge(service, second) == pinned
    gone = service.client.delete(f"/submissions/{first}", headers={"Authorization": f"Bearer {token}"})
    assert gone.status_code == 204
    assert _badge(service, first) == (200, listed)


def test_badges_do_not_link_anonymous_and_public_entries(service: Service, example: Example) -> None:
    token = service.token("shy")
    hidden = service.submit_and_score(token, "news", npy(example.scores(1.0)), method="quiet", visibility="anonymous")[
        "id"
    ]
    named = service.submit_and_score(token, "news", npy(example.scores(0.7)), method="quiet")["id"]
    assert "quiet" not in _badge(service, hidden)[1]
    headers = {"Authorization": f"Bearer {token}"}
    assert service.client.delete(f"/submissions/{hidden}", headers=headers).status_code == 204
    assert _badge(service, hidden)[0] == 404
    other = service.submit_and_score(token, "news", npy(example.scores(1.1)), method="quiet", visibility="anonymous")[
        "id"
    ]
    assert _badge(service, hidden)[0] == 404
    assert service.client.delete(f"/submissions/{named}", headers=headers).status_code == 204
    assert _badge(service, named)[0] == 404
    assert _badge(service, other)[0] == 200


def _method_badge(
    service: Service, owner: str, method: str, query: str = "", benchmark: str = "news"
) -> httpx.Response:
    return service.client.get(f"{service.url}/badges/{benchmark}/{owner}/{method}.svg{query}")


def _title(badge: httpx.Response) -> str:
    assert badge.status_code == 200, badge.text
    return ET.fromstring(badge.content).findtext(f"{SVG}title", "")  # noqa: S314 -- the project's own badge


def test_badge_of_a_method_shows_lds_or_rank(service: Service, example: Example) -> None:
    token = service.token("badger")
    sent = service.submit_and_score(token, "news", npy(example.scores(0.3)), method="badge.svg")["id"]
    numbers = service.client.get(f"/submissions/{sent}").json()["hidden"]
    lds = f"LDS {numbers['lds']:.3f} ± {numbers['std_error']:.3f}"
    low, high = numbers["rank"]
    rank = f"rank {low}" if low == high else f"rank {low}\N{EN DASH}{high}"
    shown = {
        query: _title(_method_badge(service, "badger", "badge.svg", query))
        for query in ("", "?show=lds", "?show=rank", "?show=both")
    }
    assert shown == {
        "": f"badge.svg on news: {lds}",
        "?show=lds": f"badge.svg on news: {lds}",
        "?show=rank": f"badge.svg on news: {rank}",
        "?show=both": f"badge.svg on news: {lds}, {rank}",
    }
    assert _title(_method_badge(service, "badger", "badge.svg", "?show=fall")) == "badge.svg on news: fall not known"
    fall = save_falls(service, sent, range(15), (3, 12), 12)[0, 1]
    text = f"fall {fall.mean():.3f} ± {fall.std(ddof=1) / math.sqrt(15):.3f} without 12 examples"
    assert _title(_method_badge(service, "badger", "badge.svg", "?show=fall")) == f"badge.svg on news: {text}"
    save_falls(service, sent, [3], (1,), 1, scale=-1)
    text = "fall \N{MINUS SIGN}1.000 without 1 example"
    assert _title(_method_badge(service, "badger", "badge.svg", "?show=fall")) == f"badge.svg on news: {text}"
    response = _method_badge(service, "badger", "badge.svg")
    assert response.headers["content-type"] == "image/svg+xml"
    assert response.headers["cache-control"] == "public, max-age=300"
    assert _method_badge(service, "badger", "badge.svg", "?show=p-value").status_code == 422
    assert _badge(service, sent)[1] == _method_badge(service, "badger", "badge.svg", "?show=both").text


def test_badge_of_a_method_follows_the_pinned_and_then_the_newest_entry(service: Service, example: Example) -> None:
    token = service.token("pinner")
    first = service.submit_and_score(token, "news", npy(example.scores(2.5)), method="moved")["id"]
    before = _method_badge(service, "pinner", "moved").text
    second = service.submit_and_score(token, "news", npy(example.scores(0.4)), method="moved")["id"]
    newest = _method_badge(service, "pinner", "moved").text
    assert newest != before
    _edit(service, token, first, pinned=True)
    assert _method_badge(service, "pinner", "moved").text == before
    headers = {"Authorization": f"Bearer {token}"}
    assert service.client.delete(f"/submissions/{first}", headers=headers).status_code == 204
    assert _method_badge(service, "pinner", "moved").text == newest
    assert service.client.delete(f"/submissions/{second}", headers=headers).status_code == 204
    assert _method_badge(service, "pinner", "moved").status_code == 404


def test_private_anonymous_suspended_and_practice_submissions_have_no_badge_of_a_method(
    service: Service, example: Example
) -> None:
    token = service.token("hider")
    service.submit_and_score(token, "news", npy(example.scores(3.0)), method="listed")
    kinds: dict[str, dict[str, str]] = {
        "secret": {"visibility": "private"},
        "veiled": {"visibility": "anonymous"},
        "judged": {},
        "tried": {"kind": "practice"},
    }
    ids = {
        method: service.submit(token, "news", npy(example.scores(3.1 + number / 10)), method=method, **query).json()[
            "id"
        ]
        for number, (method, query) in enumerate(kinds.items())
    }
    service.wait_until_idle()
    with service.database.write() as session:
        moderation.suspend(session, ids["judged"], "A copy.", "the operator", OPERATOR)
    unknown = _method_badge(service, "hider", "none")
    assert unknown.status_code == 404
    for method in kinds:
        hidden = _method_badge(service, "hider", method)
        assert (hidden.status_code, hidden.text) == (404, unknown.text.replace("none", method))
    assert _method_badge(service, "hider", "listed").status_code == 200
    alias = service.client.get(f"/submissions/{ids['veiled']}").json()["owner"]
    for owner, method in ((alias, "withheld"), (alias, "veiled"), ("hider", "withheld"), ("nobody", "veiled")):
        assert _method_badge(service, owner, method).status_code == 404
    assert _badge(service, ids["veiled"])[0] == 200  # under the alias


def test_badge_of_a_method_of_an_unknown_benchmark_is_refused(service: Service) -> None:
    assert _method_badge(service, "ann", "mine", benchmark="none").status_code == 404


def _updated(service: Service, submission_id: str) -> tuple[datetime, datetime, datetime]:
    """Return when a feed entry was published, when the entry was updated, and when the feed was updated."""
    feed = ET.fromstring(service.client.get(f"{service.url}/benchmarks/news/feed.atom").content)  # noqa: S314 -- the project's own feed
    entries = {entry.findtext(f"{ATOM}id"): entry for entry in feed.findall(f"{ATOM}entry")}
    entry = entries[f"urn:ldsboard:submission:{submission_id}"]
    texts = (entry.findtext(f"{ATOM}published"), entry.findtext(f"{ATOM}updated"), feed.findtext(f"{ATOM}updated"))
    published, updated, whole = (datetime.fromisoformat(text or "") for text in texts)
    return published, updated, whole


def test_feed_shows_when_an_entry_last_changed(service: Service, example: Example) -> None:
    token = service.token("cleo")
    sent = service.submit_and_score(token, "news", npy(example.scores(0.9)), method="told")
    published, scored, _ = _updated(service, sent["id"])
    assert published == datetime.fromisoformat(sent["created_at"])
    assert scored > published
    before = now()
    _edit(service, token, sent["id"], title="Another title")
    published_still, edited, whole = _updated(service, sent["id"])
    assert published_still == published
    assert before <= edited == whole <= now()


def test_feed_states_the_mean_and_changes_with_every_replicate(service: Service, example: Example) -> None:
    token = service.token("many")
    headers = {"Authorization": f"Bearer {token}"}
    ids = [
        service.submit_and_score(token, "news", npy(example.scores(0.8, seed=seed)), method="seeds", commit="a" * 40)[
            "id"
        ]
        for seed in range(3)
    ]
    feed = service.client.get(f"{service.url}/benchmarks/news/feed.atom").text
    rows = service.client.get("/benchmarks/news/leaderboard").json()["rows"]
    row = next(row for row in rows if row["id"] == ids[-1])
    assert (
        f"LDS {row['lds']:.4f} [{row['ci'][0]:.4f}, {row['ci'][1]:.4f}], mean of 3, spread {row['spread']:.4f}" in feed
    )
    times = [_updated(service, ids[-1])[1]]
    assert service.client.delete(f"/submissions/{ids[0]}", headers=headers).status_code == 204
    times.append(_updated(service, ids[-1])[1])
    with service.database.write() as session:
        moderation.suspend(session, ids[1], "A copy.", "the operator", OPERATOR)
    times.append(_updated(service, ids[-1])[1])
    assert len(set(times)) == 3
    assert times == sorted(times)

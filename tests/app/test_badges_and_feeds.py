"""Badges and feeds: a badge follows the listed entry of its method, and a feed shows when entries changed."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from app.db.base import now
from tests.app.benchmarks import Example, write_benchmark
from tests.app.service import npy

if TYPE_CHECKING:
    from tests.app.service import Service

ATOM = "{http://www.w3.org/2005/Atom}"


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

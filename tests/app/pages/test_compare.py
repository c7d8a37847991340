"""The page that compares submissions, and the page on which a visitor chooses them."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from app.pages.content import formatting
from app.pages.content.charts import versus
from ldsboard.core.comparison import compare_influences
from ldsboard.core.replicates import FILES_ONLY
from tests.app.service import npy

if TYPE_CHECKING:
    from tests.app.benchmarks import Example
    from tests.app.pages.conftest import Site


def test_three_submissions_are_compared_in_pairs(site: Site, toy: Example) -> None:
    noises = {"good": 0.1, "middling": 2.0}
    ids = [site.ids[name] for name in ("good", "middling", "flipped")]
    offline = [toy.offline(toy.scores(noise)) for noise in noises.values()] + [toy.offline(-toy.scores(1.0))]
    page = site.page(
        f"/compare?a={ids[0]}&id={ids[1]}&c={ids[2]}&b={ids[0]}"
    )  # duplicates are removed, the order is kept
    scores, pairs = page.tables
    assert [row[0].split()[0] for row in scores[1:]] == ["good", "middling", "flipped"]
    assert len(pairs) == 1 + 3
    for row, (a, b) in zip(pairs[1:], combinations(offline, 2), strict=True):
        # Numbers of hidden subsets have four digits, and differences and interval ends are computed from the rounded numbers.
        difference = round(round(a["ranking"].lds, 4) - round(b["ranking"].lds, 4), 4)
        found = compare_influences(difference, a["ranking"].influence, b["ranking"].influence)
        half = stats.t.ppf(0.975, 119) * round(found.std_error, 4)
        low, high = round(difference - half, 4), round(difference + half, 4)
        assert row[2] == f"{formatting.number(found.difference)} [{formatting.number(low)}, {formatting.number(high)}]"
        assert row[3:6] == [
            formatting.number(found.std_error),
            formatting.significant(found.z),
            formatting.p_value(found.p_value).replace("\N{NO-BREAK SPACE}", " "),
        ]
        wins = [np.count_nonzero(x["public"].per_target > y["public"].per_target) for x, y in ((a, b), (b, a))]
        assert row[6:] == ["ranking", FILES_ONLY, f"{wins[0]} : {wins[1]} by target"]


def test_two_submissions_are_compared_by_target(site: Site, toy: Example) -> None:
    page = site.page(f"/compare?a={site.ids['good']}&b={site.ids['middling']}")
    rho_a_N, rho_b_N = (toy.offline(toy.scores(noise))["public"].per_target for noise in (0.1, 2.0))
    points = [row for row in page.all("tr") if "data-a" in row]
    assert [(row["data-a"], row["data-b"]) for row in points] == [
        (f"{a:.4f}", f"{b:.4f}") for a, b in zip(rho_a_N, rho_b_N, strict=True)
    ]
    clearest = int(np.argmax(rho_a_N - rho_b_N))
    address = f"/submissions/{site.ids['good']}?target={clearest}#target"
    assert address in [link["href"] for link in page.all("a")]
    assert site.browser.get(address).status_code == 200


def test_practice_submission_is_compared_on_public_subsets(site: Site) -> None:
    row = site.page(f"/compare?a={site.ids['practice']}&b={site.ids['good']}").tables[1][1]
    assert row[6] == "public"


def test_same_file_of_two_users_is_equal_on_every_target(site: Site) -> None:
    text = site.text(f"/compare?a={site.ids['good']}&b={site.ids['twin']}")
    assert "and on 7 they are equal" in text
    assert "is better on no target" in text


def test_wins_count_all_targets_and_the_chart_draws_a_sample() -> None:
    rng = np.random.default_rng(0)
    rho_a_N, rho_b_N = rng.uniform(-1, 1, (2, 5000))
    rho_b_N[:100] = rho_a_N[:100]
    found = versus(rho_a_N, rho_b_N)
    assert (found.targets, len(found.points)) == (5000, 1000)
    assert (found.points[0].target, found.points[-1].target) == (0, 4999)
    assert found.a_wins == np.count_nonzero(rho_a_N > rho_b_N)
    assert found.b_wins == np.count_nonzero(rho_b_N > rho_a_N)
    order = np.argsort(rho_a_N - rho_b_N)
    assert [pair.target for pair in found.clearest_b] == list(order[:5])
    assert [pair.target for pair in found.clearest_a] == list(order[:-6:-1])


def test_compare_page_without_two_ids_offers_a_choice(site: Site) -> None:
    empty = site.page("/compare")
    assert {option.get("value") for option in empty.all("option")} == {None}
    assert not [box for box in empty.all("input") if box.get("type") == "checkbox"]
    board = site.page("/compare?benchmark=toy")
    rows = site.api("/benchmarks/toy/leaderboard")["rows"]
    boxes = [box for box in board.all("input") if box.get("type") == "checkbox"]
    assert [box["value"] for box in boxes] == [row["id"] for row in rows]
    assert "open-toy has no entries yet" in site.text("/compare?benchmark=open-toy")
    # An unlisted submission can be chosen too.
    one = site.page(f"/compare?id={site.ids['practice']}")
    assert [box["value"] for box in one.all("input") if "checked" in box] == [site.ids["practice"]]
    both = site.page(f"/compare?id={site.ids['good']}&id={site.ids['middling']}&choose=1")
    assert {box["value"] for box in both.all("input") if "checked" in box} == {site.ids["good"], site.ids["middling"]}


def test_submissions_that_cannot_be_compared_are_rejected(site: Site, open_toy: Example) -> None:
    names = "&".join(f"id={number:016x}" for number in range(11))
    assert site.browser.get(f"/compare?id={site.ids['good']}&b=0000").status_code == 404
    many = site.browser.get(f"/compare?{names}")
    assert many.status_code == 422
    assert "at most 10 submissions" in many.text
    other = site.service.submit_and_score(
        site.service.token("fay"), open_toy.name, npy(open_toy.scores()), kind="practice"
    )["id"]
    mixed = site.browser.get(f"/compare?id={site.ids['good']}&id={site.ids['middling']}&id={other}")
    assert mixed.status_code == 409
    assert site.browser.get(f"/compare?id={site.ids['good']}&id={site.ids['spoiled']}").status_code == 409

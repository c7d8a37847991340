"""The page of a method: its table, links, filters and further rows, for visitors and for the owner."""

from __future__ import annotations

from html import unescape
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from app.benchmarks import catalog
from app.db.models import Kind, Visibility
from app.leaderboard.ranking import update_ranks
from app.pages import methods
from app.pages.content.origins import commit_address, repository_address, request_address, request_name
from tests.app.benchmarks import write_benchmark
from tests.app.commits import add_commit
from tests.app.pages.markup import Markup

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.app.pages.conftest import Site
    from tests.app.pages.signed_in import SignedInUser
    from tests.app.service import Service

PATH = "/benchmarks/commits/methods/ada/trak"
RUN = {"repository": "ada/x", "url": "https://git.example/ada/x/actions/runs/1", "provider": "forgejo"}


class Commits(NamedTuple):
    """A site with the benchmark "commits", whose submissions were inserted without scoring."""

    site: Site
    ids: dict[str, str]


@pytest.fixture(scope="module")
def commits(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Commits:
    site.service.publish(write_benchmark(tmp_path_factory.mktemp("commits"), "commits").folder)
    with site.service.database.write() as session:
        version = catalog.find_version(session, "commits")
        ranked: dict[str, Any] = {"kind": Kind.RANKED, "spread": 1e-4}
        origins = [RUN | {"commit": digit * 40, "branch": "main"} for digit in "abc"]
        ids = {
            "worse": add_commit(session, version, 0.3, hour=0, seed=1, origins=(origins[0],), **ranked),
            "same": add_commit(session, version, 0.401, hour=1, seed=2, title="<b>bold</b>", **ranked),
            "listed": add_commit(session, version, 0.4, hour=2, origins=(origins[1] | {"number": 7},), **ranked),
            "practice": add_commit(session, version, 0.5, hour=3, origins=(origins[2],)),
        }
        for method, kind, visibility in (
            ("secret", Kind.RANKED, Visibility.PRIVATE),
            ("secret", Kind.RANKED, Visibility.ANONYMOUS),
            ("secret", Kind.PRACTICE, Visibility.PUBLIC),
        ):
            add_commit(session, version, 0.5, hour=4, method=method, kind=kind, visibility=visibility)
        update_ranks(session, version)
    return Commits(site, ids)


def test_visitor_sees_ranked_commits_with_marks_and_links(commits: Commits) -> None:
    site, ids = commits
    page = site.page(PATH)
    rows = site.api("/benchmarks/commits/history?owner=ada&method=trak&kind=ranked")["rows"]
    (table,) = page.tables
    body = [attributes for attributes in page.all("tr") if "data-id" in attributes]
    assert (
        [row["data-id"] for row in body] == [row["id"] for row in rows] == [ids[n] for n in ("listed", "same", "worse")]
    )
    assert [float(row["data-lds"] or 0) for row in body] == [row["lds"] for row in rows] == [0.5, 0.501, 0.4]
    assert [row["data-label"] for row in body][::2] == ["bbbbbbb", "aaaaaaa"]
    assert ["data-marked" in row for row in body] == [False, False, True]
    (shown,) = [attributes for attributes in page.all("table") if attributes.get("id") == "history"]
    assert shown["data-baseline"] == "0.5"
    assert [cells[-2].split(" [")[0].split()[-1] for cells in table[1:]] == ["baseline", "0.0010", "−0.1000"]  # noqa: RUF001 -- the minus sign is meant
    assert "worse" in table[3][-2]
    links = {link["href"] for link in page.all("a")}
    assert {f"/submissions/{ids['same']}", f"/compare?a={ids['worse']}&b={ids['listed']}", RUN["url"]} <= links
    assert {f"https://git.example/ada/x/commit/{'a' * 40}", "https://git.example/ada/x/pulls/7"} <= links
    text = site.text(PATH)
    assert "<b>bold" not in text
    assert ids["practice"] not in text
    assert "entry of this method on the leaderboard" in text
    assert "<select" not in text, "only the owner can choose"
    assert site.text(f"{PATH}?kind=practice").count("data-id") == 3


def test_leaderboard_and_submission_link_to_the_page_of_the_method(commits: Commits) -> None:
    site, ids = commits

    def linked(path: str) -> bool:
        return PATH in {link["href"] for link in site.page(path).all("a")}

    assert linked("/benchmarks/commits")
    assert linked(f"/submissions/{ids['worse']}")
    assert not linked(f"/submissions/{ids['practice']}"), "the page would not show it to a visitor"
    hrefs = [link["href"] or "" for link in site.page("/benchmarks/commits").all("a")]
    assert [href for href in hrefs if "/methods/" in href] == [PATH], "an anonymous entry has no history"


@pytest.mark.parametrize(
    "path", ["ada/secret", "ada/unknown", "nobody/trak", "anonymous-1/withheld", "anonymous-1/secret"]
)
def test_method_without_visible_submissions_looks_like_no_method(commits: Commits, path: str) -> None:
    owner, method = path.split("/")
    for query in ("", "?kind=ranked", "?kind=practice", "?branch=main", f"?before=1-{'0' * 16}"):
        shown = commits.site.browser.get(f"/benchmarks/commits/methods/{path}{query}")
        unknown = commits.site.browser.get(f"/benchmarks/commits/methods/x/y{query}")
        assert shown.status_code == unknown.status_code == 404
        renamed = unescape(shown.text).replace(f"'{owner}'", "'x'").replace(f"'{method}'", "'y'")
        assert renamed == unescape(unknown.text).replace("methods/x/y", f"methods/{path}")


def test_further_rows_have_their_own_pages(commits: Commits, monkeypatch: pytest.MonkeyPatch) -> None:
    site, ids = commits
    page = site.page(f"{PATH}?before=9999999999999999-{'f' * 16}")
    (newest,) = [link["href"] for link in page.all("a") if "branch=" in (link["href"] or "")]
    assert site.text(str(newest)).count("data-id") == 3
    with site.service.database.read() as session:
        monkeypatch.setattr(methods, "PAGE_SIZE", 2)
        version = catalog.find_version(session, "commits")
        text = methods.show_method(site.service.settings, session, None, version, "ada", "trak")
    (earlier,) = [link["href"] for link in Markup(text).all("a") if link.get("rel") == "next"]
    assert text.count("data-id") == 2
    rest = site.text(str(earlier))
    assert (rest.count("data-id"), ids["worse"] in rest) == (1, True)
    assert "No submission of this method matches" in site.text(f"{PATH}?before=0-{'0' * 16}")


@pytest.fixture
def owner(sign_in: Callable[[str], SignedInUser]) -> SignedInUser:
    return sign_in("committer")


def test_owner_chooses_kind_and_branch(owner: SignedInUser, sign_in_service: Service) -> None:
    path = f"/benchmarks/toy/methods/{owner.name}/own"
    with sign_in_service.database.write() as session:
        version = catalog.find_version(session, "toy")
        fields: dict[str, Any] = {"owner": owner.name, "method": "own", "visibility": Visibility.PRIVATE}
        main = add_commit(session, version, 0.4, hour=0, origins=({"branch": "main"},), **fields)
        side = add_commit(session, version, 0.5, hour=1, origins=({"branch": "a & b"},), **fields)
        ranked = add_commit(session, version, 0.6, hour=2, kind=Kind.RANKED, **fields)

    def shown(query: str = "") -> list[str | None]:
        page = Markup(owner.client.get(f"{path}{query}").text)
        return [attributes["data-id"] for attributes in page.all("tr") if "data-id" in attributes]

    assert shown() == [ranked, side, main]
    assert shown("?kind=ranked&branch=") == [ranked]
    assert shown("?kind=practice") == [side, main]
    assert shown("?kind=&branch=a+%26+b") == [side]
    text = owner.client.get(f"{path}?branch=a+%26+b").text
    assert '<option value="a &amp; b" selected>' in text
    assert "kind=ranked&amp;" not in text
    assert "Authorization: Bearer $LDSBOARD_TOKEN" in text
    assert shown("?branch=none") == []
    assert "No submission of this method matches" in owner.client.get(f"{path}?branch=none").text
    assert sign_in_service.client.get(f"{sign_in_service.url}{path}").status_code == 404, "for everybody else"
    linked = {link["href"] for link in Markup(owner.client.get(f"/submissions/{side}").text).all("a")}
    assert path in linked


ADDRESS = "https://git.example/o/r"


@pytest.mark.parametrize(
    ("origin", "addresses"),
    [
        ({}, (None, None, None)),
        ({"repository": "o/r", "commit": "abc1234", "provider": "github", "number": 3}, (None, None, None)),
        ({"repository": f"{ADDRESS}.git", "commit": "abc1234"}, (ADDRESS, f"{ADDRESS}/commit/abc1234", None)),
        (
            {
                "repository": "o/r",
                "commit": "abc1234",
                "provider": "github",
                "number": 3,
                "url": f"{ADDRESS}/actions/runs/1",
            },
            (ADDRESS, f"{ADDRESS}/commit/abc1234", f"{ADDRESS}/pull/3"),
        ),
        (
            {"repository": "o/r", "commit": "abc1234", "provider": "gitlab", "number": 3, "url": f"{ADDRESS}/-/jobs/1"},
            (ADDRESS, f"{ADDRESS}/-/commit/abc1234", f"{ADDRESS}/-/merge_requests/3"),
        ),
        ({"repository": "o/r", "url": "https://other.example/x"}, (None, None, None)),
        ({"repository": "", "url": "https://other.example//x"}, (None, None, None)),
        ({"repository": "git.example", "url": "https://git.example/x"}, (None, None, None)),
        ({"repository": "javascript:alert(1)", "commit": "abc1234"}, (None, None, None)),
        ({"repository": "https://x.example/ two words", "commit": "abc1234"}, (None, None, None)),
    ],
    ids=str,
)
def test_addresses_of_a_provenance_are_known_only_if_its_server_is(
    origin: dict[str, Any], addresses: tuple[str | None, ...]
) -> None:
    assert (repository_address(origin), commit_address(origin), request_address(origin)) == addresses


def test_requests_are_named_as_their_provider_names_them() -> None:
    assert [request_name({"number": 3, "provider": provider}) for provider in ("github", "gitlab")] == ["#3", "!3"]
    assert request_name({"number": 3}) == "#3"

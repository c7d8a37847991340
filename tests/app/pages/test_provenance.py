"""Verified and reported provenance on the pages of a submission and of a leaderboard, and the last use of a trusted workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from tests.app.benchmarks import write_benchmark
from tests.app.ci_runs import COMMIT, RUN, run_token, trust_workflow
from tests.app.pages.markup import Markup
from tests.app.service import npy

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.app.benchmarks import Example
    from tests.app.pages.signed_in import SignedInUser
    from tests.app.service import Service

REPOSITORY = "https://github.com/octo-org/octo-repo"
LINKS = {REPOSITORY: "nofollow noopener ugc"} | {
    f"{REPOSITORY}/{path}": "nofollow noopener ugc" for path in (f"commit/{COMMIT}", f"actions/runs/{RUN}")
}
BADGE = '<span class="badge verified">verified</span>'
BOARD = "/benchmarks/from-ci"


@pytest.fixture(scope="module")
def example(sign_in_service: Service, tmp_path_factory: pytest.TempPathFactory) -> Example:
    """A benchmark of its own, because other tests check the entries of toy."""
    made = write_benchmark(tmp_path_factory.mktemp("from-ci"), "from-ci")
    sign_in_service.publish(made.folder)
    return made


@pytest.fixture(scope="module")
def visitor(sign_in_service: Service) -> Callable[[str], str]:
    """A function that returns a page as somebody without an account sees it."""
    return lambda path: httpx.get(f"{sign_in_service.url}{path}", headers={"Accept": "text/html"}, trust_env=False).text


def _links(text: str) -> dict[str | None, str | None]:
    return {link["href"]: link.get("rel") for link in Markup(text).all("a") if "octo-" in str(link["href"])}


def _send(service: Service, token: str, example: Example, method: str, **query: str) -> str:
    sent = service.submit_and_score(token, example.name, npy(example.scores()), method=method, **query)
    return str(sent["id"])


def test_verified_provenance_has_a_badge_and_links(
    sign_in: Callable[[str], SignedInUser],
    sign_in_service: Service,
    example: Example,
    visitor: Callable[[str], str],
) -> None:
    owner = sign_in("owner-of-verified")
    trust_workflow(sign_in_service, owner.name, "ours")
    assert "never" in owner.client.get("/account").text
    token = run_token(sign_in_service, owner.name, "ours", environment="release")
    false = {"repository": "evil/evil", "url": "https://evil.example/run"}
    submission = _send(sign_in_service, token, example, "ours", **false)
    for path in (f"/submissions/{submission}", BOARD):
        text = visitor(path)
        assert BADGE in text
        assert _links(text) == LINKS
        assert "evil" not in text
    assert "Reported provenance" not in visitor(f"/submissions/{submission}")
    account = owner.client.get("/account").text
    assert "never" not in account
    assert "<strong>The environment release is not required.</strong>" in account


def test_reported_provenance_has_no_badge_and_no_link_with_the_name_of_the_repository(
    sign_in_service: Service, example: Example, visitor: Callable[[str], str]
) -> None:
    address = "https://evil.example/octo-org/octo-repo/actions/runs/1"
    origin = {"repository": "octo-org/octo-repo", "commit": COMMIT, "url": address, "provider": "github"}
    token = sign_in_service.token("reporter")
    submission = _send(sign_in_service, token, example, "stated", **origin)
    text = visitor(f"/submissions/{submission}")
    assert "Reported provenance" in text
    assert BADGE not in text
    assert f'"{address.partition("/actions")[0]}"' not in text
    assert set(_links(text)) == {address, f"{address.partition('/actions')[0]}/commit/{COMMIT}"}
    board = Markup(visitor(BOARD))
    (row,) = (row for row in board.tables[0][1:] if any(cell.startswith("stated ") for cell in row))
    assert row[-1] == "reported"


def test_pull_request_of_a_verified_run_is_linked(
    sign_in: Callable[[str], SignedInUser], sign_in_service: Service, example: Example
) -> None:
    owner = sign_in("owner-of-requests")
    trust_workflow(sign_in_service, owner.name, "asked")
    claims = {"event_name": "pull_request", "ref": "refs/pull/7/merge", "head_ref": "<b>feature</b>"}
    token = run_token(sign_in_service, owner.name, "asked", **claims)
    submission = _send(sign_in_service, token, example, "asked", kind="practice")
    text = owner.client.get(f"/submissions/{submission}").text
    assert set(_links(text)) == {REPOSITORY, f"{REPOSITORY}/pull/7", f"{REPOSITORY}/actions/runs/{RUN}"}
    assert "&lt;b&gt;feature&lt;/b&gt;" in text
    assert BADGE in text


@pytest.mark.parametrize("visibility", ["anonymous", "private"])
def test_pages_show_others_nothing_of_a_hidden_verified_provenance(
    sign_in: Callable[[str], SignedInUser],
    sign_in_service: Service,
    example: Example,
    visitor: Callable[[str], str],
    visibility: str,
) -> None:
    owner = sign_in(f"owner-of-{visibility}")
    name, method = f"octo-org/{visibility}-repo", f"{visibility}-method"
    trust_workflow(sign_in_service, owner.name, method, repository=name)
    token = run_token(sign_in_service, owner.name, method, repository=name)
    submission = _send(sign_in_service, token, example, method)
    owner.post(submission, visibility=visibility)
    path = f"/submissions/{submission}"
    for page in (path, BOARD):
        assert name not in visitor(page)
    assert BADGE not in visitor(path)
    shown = owner.client.get(path).text
    assert BADGE in shown
    assert f"https://github.com/{name}" in shown

"""Trusted workflows and verified provenance in a browser: keyboard, no JavaScript, narrow and wide windows, accessibility."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.app.ci_runs import run_token, trust_workflow
from tests.app.service import npy
from tests.browser.page_faults import PHONE, find_faults

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Visitor
    from tests.browser.sending.form import Board

LONG = f"{'o' * 39}/{'r' * 100}"
BRANCH = "b" * 240
FORM = {
    "Method": "ours",
    "Repository": "octo-org/octo-repo",
    "Id of the repository": "74",
    "Id of the owner": "65",
    "File of the workflow": ".github/workflows/lds.yml",
}


def _sign_in(visitor: Visitor, **options: object) -> tuple[Page, str]:
    """Open the account page of a signed-in user; return the page and the name of the user."""
    page = visitor.open("/", **options)  # type: ignore[arg-type]
    page.goto("/sign-in/oidc")
    visitor.errors.clear()  # sign-in redirects to the provider's site, which counts as a foreign request
    return page, page.locator("h1").inner_text()


def test_workflow_is_trusted_and_removed_by_keyboard_without_javascript(visitor: Visitor) -> None:
    page, _ = _sign_in(visitor, javascript=False, width=PHONE)
    page.get_by_role("link", name="Trust a workflow of GitHub (github.com)").press("Enter")
    page.get_by_label("Method", exact=True).focus()
    for value in FORM.values():
        page.keyboard.type(value)
        page.keyboard.press("Tab")
    page.get_by_label("Branch").press("Enter")
    page.wait_for_url("**/account#ci")
    row = page.get_by_role("region", name="Workflows that you trust").locator("tbody tr")
    assert "octo-org/octo-repo" in row.inner_text()
    row.get_by_role("link", name="Remove .github/workflows/lds.yml of octo-org/octo-repo for ours").press("Enter")
    page.get_by_role("heading", name="Stop trusting").wait_for()
    page.get_by_role("button", name="Stop trusting it").press("Enter")
    page.wait_for_url("**/account#ci")
    assert page.get_by_role("region", name="Workflows that you trust").count() == 0


def test_pages_of_ci_fit_and_have_no_serious_accessibility_violation(visitor: Visitor, board: Board) -> None:
    page, owner = _sign_in(visitor, width=PHONE)
    method = "from-ci".ljust(64, "x")
    board.service.token(owner, ranked_per_day=99)
    publisher = trust_workflow(board.service, owner, method, repository=LONG, branch=BRANCH)
    run = {"repository": LONG, "ref": f"refs/heads/{BRANCH}", "environment": "e" * 200}
    token = run_token(board.service, owner, method, **run)
    sent = board.service.submit_and_score(token, "large", npy(board.example.scores(390)), method=method)
    found = []
    for path in (
        "/account",
        "/account/publishers",
        "/account/publishers?issuer=https%3A//gitlab.com",
        "/account/publishers?issuer=https%3A//codeberg.org/api/actions",
        f"/account/publishers?like={publisher}",
        f"/account/publishers/{publisher}/remove",
        f"/submissions/{sent['id']}",
        "/benchmarks/large",
    ):
        visitor.visit(page, path)
        found += find_faults(page)
    assert found == []
    assert page.get_by_text("verified", exact=True).first.is_visible()

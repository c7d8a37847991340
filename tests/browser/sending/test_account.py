"""The pages of an account with a submission whose method name is very long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from app.db.base import now
from app.db.models import Submission
from app.db.webhooks import CallState, Webhook, WebhookCall
from tests.app.service import npy
from tests.browser.page_faults import PHONE, find_faults
from tests.browser.sending.form import Board, open_form

if TYPE_CHECKING:
    from tests.browser.conftest import Visitor


def test_account_pages_fit_and_have_no_serious_accessibility_violation(
    visitor: Visitor, board: Board, calls: list[str]
) -> None:
    page = open_form(visitor, calls, width=PHONE)
    visitor.visit(page, "/account")
    owner = page.locator("h1").inner_text()
    method = "a-very-long-name-of-a-method".ljust(64, "x")
    sent = board.service.submit_and_score(
        board.service.token(owner, ranked_per_day=99), "large", npy(board.example.scores(391)), method=method
    )
    page.reload()
    page.get_by_label(f"Change {method}").click()
    page.get_by_role("button", name="Pin").wait_for()
    assert find_faults(page) == []
    page.locator("tr", has=page.locator(f"a[href='/submissions/{sent['id']}']")).get_by_text("Withdraw").click()
    page.get_by_role("heading", name=f"Withdraw {method}?").wait_for()
    assert find_faults(page) == []
    page.get_by_role("button", name="Withdraw it").click()
    page.wait_for_url("**/account#submissions")
    assert board.service.row(sent["id"]).state == "withdrawn"
    page.get_by_role("link", name="Delete your account…").click()
    page.get_by_role("heading", name=f"Delete the account {owner}?").wait_for()
    assert find_faults(page) == []


def test_webhooks_are_added_and_removed_with_the_keyboard(visitor: Visitor, board: Board, calls: list[str]) -> None:
    page = open_form(visitor, calls, width=PHONE)
    visitor.visit(page, "/account")
    owner = page.locator("h1").inner_text()
    sender = board.service.token(owner, ranked_per_day=99)
    board.service.submit_and_score(sender, "large", npy(board.example.scores(392)), kind="practice")
    page.get_by_role("link", name="Add a webhook").click()
    address = f"https://hooks.example.org/{'x' * 400}"
    page.get_by_label("Address").fill(address)
    page.keyboard.press("Enter")
    page.get_by_role("status").wait_for()
    assert find_faults(page) == []
    with board.service.database.write() as session:
        webhook = session.scalars(select(Webhook).where(Webhook.url == address)).one()
        assert webhook.user.name == owner
        webhook.disabled_at = now()
        sent = session.scalars(select(Submission.id)).first()
        failed = {"event": "scored", "attempts": 6, "state": CallState.FAILED, "status": 500, "ended_at": now()}
        error = "The receiver answered with status 500."
        session.add(WebhookCall(webhook_id=webhook.id, submission_id=sent, error=error, **failed))
    visitor.visit(page, "/account/webhooks")
    page.get_by_text("Disabled on").wait_for()
    assert find_faults(page) == []
    page.get_by_role("button", name=f"Remove {address}").press("Enter")
    page.get_by_text("You have no webhooks yet.").wait_for()

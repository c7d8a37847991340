"""The page for admins with long names and many rows: it fits, is accessible, and its buttons work without JavaScript."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, update

from app.accounts import users
from app.db.accounts import Role, User
from app.db.models import State, Submission
from tests.app.failures import fail
from tests.app.service import npy
from tests.browser.page_faults import PHONE, find_faults
from tests.browser.sending.form import Board, open_form

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.browser.conftest import Visitor

LONG = "m" * 64
ERROR = "SandboxError('The scoring process ended without an answer (exit status 1).')"


@pytest.fixture(autouse=True)
def _no_admins_remain(board: Board) -> Iterator[None]:
    yield
    with board.service.database.write() as session:
        session.execute(update(User).values(role=Role.USER))


def test_page_for_admins_fits_and_works_without_javascript(visitor: Visitor, board: Board, calls: list[str]) -> None:
    service = board.service
    token = service.token("o" * 64, ranked_per_day=99)
    for seed, method in ((400, LONG), (401, "short")):
        sent = service.submit_and_score(token, "large", npy(board.example.scores(seed)), method=method)
        fail(service, sent["id"], ERROR)
    page = open_form(visitor, calls, width=PHONE, javascript=False)
    visitor.visit(page, "/account")
    with service.database.write() as session:
        users.find_user(session, page.locator("h1").inner_text()).role = Role.ADMIN
        for name in ("u" * 64, "stranger"):
            users.add_user(session, name, verified=False)
    page.reload()
    page.get_by_role("link", name="Operation of this server").click()
    page.get_by_role("heading", name="Operation", exact=True).wait_for()
    assert page.locator("h2").all_inner_texts() == [
        "Queue", "Running", "Failed permanently", "Accounts without a verified identity", "Server",
    ]  # fmt: skip
    page.get_by_role("button", name="Retry short of").click()
    page.wait_for_url("**/admin#failed")
    with service.database.read() as session:
        retried = session.scalars(select(Submission.id).where(Submission.method == "short")).one()
    assert service.wait_until_final(retried)["state"] == State.SCORED
    page.get_by_role("button", name="Approve stranger").click()
    page.wait_for_url("**/admin#accounts")
    assert page.get_by_role("button", name="Approve").count() == 1
    assert page.get_by_role("button", name="Retry").count() == 1


def test_page_for_admins_has_no_faults(visitor: Visitor, board: Board, calls: list[str]) -> None:
    page = open_form(visitor, calls, width=PHONE)
    visitor.visit(page, "/account")
    with board.service.database.write() as session:
        users.find_user(session, page.locator("h1").inner_text()).role = Role.ADMIN
        users.add_user(session, "w" * 64, verified=False)
    token = board.service.token("p" * 64, ranked_per_day=99)
    sent = board.service.submit_and_score(token, "large", npy(board.example.scores(402)), method=LONG)
    fail(board.service, sent["id"], ERROR)
    visitor.visit(page, "/admin")
    assert page.get_by_role("button", name="Retry").count() > 0
    assert find_faults(page) == []

"""Sending a score file from the browser: check, hash, upload parts, pause, resume, cancel, and the result."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from app.db.accounts import Scope
from ldsboard.problems import Problem
from tests.app.benchmarks import write_benchmark
from tests.app.service import npy, until
from tests.browser.sending.form import N_TRAIN, PARTS, TARGETS, Board, choose_file, open_form

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Route

    from tests.browser.conftest import Visitor


def test_form_sends_file_in_parts_and_shows_result(visitor: Visitor, board: Board, calls: list[str]) -> None:
    page = open_form(visitor, calls)
    scores = board.example.scores(0.5)
    choose_file(page, npy(scores))
    status = page.get_by_role("status")
    status.filter(has_text=f"float32 scores of shape ({N_TRAIN}, {TARGETS}): it fits").wait_for()
    page.get_by_label("Method").fill("in-parts")
    page.get_by_label("Title").fill("Sent from a browser")
    page.get_by_label("Ranked").check()
    page.get_by_label("Everybody, without your name").check()
    page.get_by_text("Description, links, tags and cost").click()
    page.get_by_label("Description").fill("Two lines,\nhere.")
    page.get_by_label("Address of the paper").fill(" https://example.org/paper ")
    page.get_by_label("Tags").fill("gradient ensemble")
    page.get_by_label("Computing time in seconds").fill("12.5")
    page.get_by_label("Device").fill("a CPU")
    page.get_by_label("Models trained").fill("5")
    page.get_by_role("button", name="Send").click()
    view = board.submission(page)
    assert view["state"] == "scored"
    assert view["hidden"]["lds"] == round(board.example.offline(scores)["ranking"].lds, 4)
    assert (view["kind"], view["visibility"], view["method"]) == ("ranked", "anonymous", "withheld")
    row = board.service.row(view["id"])
    assert (row.method, row.title) == ("in-parts", "Sent from a browser")
    assert (row.description, row.tags) == ("Two lines,\nhere.", ["gradient", "ensemble"])
    assert row.urls == {"paper": "https://example.org/paper"}
    assert row.cost == {"seconds": 12.5, "device": "a CPU", "models": 5}
    sent = [call for call in calls if call.startswith("PUT")]
    assert len(sent) == len(set(sent)) == PARTS
    assert [call for call in calls if call.startswith("POST")] == [
        "POST /account/submit-token",
        "POST /api/v1/submissions",
        f"POST /api/v1/submissions/{view['id']}/complete",
    ]


def test_form_declares_fitted_scores_on_a_practice_board(
    visitor: Visitor, board: Board, calls: list[str], tmp_path: Path
) -> None:
    example = write_benchmark(tmp_path, "declared", split="open")
    board.service.publish(example.folder)
    page = open_form(visitor, calls)
    assert page.get_by_label("fitted to the ranking subsets").count() == 0  # this board is protected
    for method, declared in (("honest", False), ("ridge", True)):
        visitor.visit(page, "/benchmarks/declared/submit")
        choose_file(page, npy(example.scores(0.5 + declared)))
        page.get_by_role("status").filter(has_text="it fits").wait_for()
        page.get_by_label("Method", exact=True).fill(method)
        page.get_by_label("fitted to the ranking subsets").set_checked(declared)
        page.get_by_role("button", name="Send").click()
        assert board.submission(page)["uses_subsets"] is declared


def test_form_accepts_token_without_sign_in(visitor: Visitor, board: Board, calls: list[str]) -> None:
    page = open_form(visitor, calls, signed_in=False)
    choose_file(page, npy(board.example.scores(0.7)))
    page.get_by_label("Method").fill("by-token")
    page.get_by_label("Only you").check()
    field = page.get_by_label("Token")
    assert field.get_attribute("autocomplete") == "off"
    token = board.service.token("tess")
    field.fill(token)
    page.get_by_role("button", name="Send").click()
    page.wait_for_url("**/submissions/*")
    row = board.service.row(page.url.rsplit("/", 1)[1])
    board.service.wait_until_idle()
    assert (row.method, row.visibility, row.kind) == ("by-token", "private", "practice")
    assert page.evaluate("[localStorage.length, sessionStorage.length]") == [0, 0]
    assert token not in page.content()
    visitor.errors[:] = [
        text for text in visitor.errors if "404" not in text
    ]  # visitors may not see the page of a private submission


def test_form_with_submit_scope_token_sends_anonymous_submission(
    visitor: Visitor, board: Board, calls: list[str]
) -> None:
    page = open_form(visitor, calls, signed_in=False)
    choose_file(page, npy(board.example.scores(0.6)))
    page.get_by_label("Method").fill("unseen")
    page.get_by_label("Everybody, without your name").check()
    page.get_by_text("Description, links, tags and cost").click()
    page.get_by_label("Description").fill("Two lines,\nhere.")
    page.get_by_label("Tags").fill(" gradient  ensemble ")
    page.get_by_label("Token").fill(board.service.token("uma", scopes=[Scope.SUBMIT]))
    with page.expect_request(lambda request: request.url.endswith("/api/v1/submissions")) as announced:
        page.get_by_role("button", name="Send").click()
    view = board.submission(page)
    assert view["state"] == "scored"
    request = json.loads(announced.value.post_data or "")
    assert (request["visibility"], request["description"]) == ("anonymous", "Two lines,\nhere.")
    assert request["tags"] == ["gradient", "ensemble"]
    assert [call for call in calls if call.startswith(("POST", "PATCH"))] == [
        "POST /api/v1/submissions",
        f"POST /api/v1/submissions/{view['id']}/complete",
    ]
    row = board.service.row(view["id"])
    assert (row.visibility, row.description, row.tags) == ("anonymous", request["description"], request["tags"])


def test_form_cancels_upload_after_rejected_part(visitor: Visitor, board: Board, calls: list[str]) -> None:
    page = open_form(visitor, calls)
    problem = Problem("scores.shape", "These are other scores.", "Send it again.").as_dict()
    page.route("**/parts/1", lambda route: route.fulfill(status=422, json=problem))
    choose_file(page, npy(board.example.scores(1.3)))
    page.get_by_label("Method").fill("given-up")
    with page.expect_response(lambda response: response.request.method == "DELETE") as cancelled:
        page.get_by_role("button", name="Send").click()
    assert cancelled.value.ok
    page.get_by_role("alert").filter(has_text=problem["title"]).wait_for()
    assert page.get_by_role("button", name="Send").is_enabled()
    assert board.service.row(cancelled.value.url.split("/")[-2]).state == "expired"
    visitor.errors[:] = [text for text in visitor.errors if "422" not in text]


def test_form_reports_invalid_token(visitor: Visitor, board: Board, calls: list[str]) -> None:
    page = open_form(visitor, calls, signed_in=False)
    choose_file(page, npy(board.example.scores(0.7)))
    page.get_by_label("Method").fill("nobody")
    page.get_by_label("Token").fill("ldsb_wrong")
    page.get_by_role("button", name="Send").click()
    page.get_by_role("alert").filter(has_text="The token is not valid").wait_for()
    assert page.get_by_role("button", name="Send").is_enabled()
    visitor.errors[:] = [text for text in visitor.errors if "401" not in text]


def test_form_retries_only_failed_part(visitor: Visitor, board: Board, calls: list[str]) -> None:
    page = open_form(visitor, calls)
    failures = [503, 500]

    def fail(route: Route) -> None:
        if failures:
            route.fulfill(status=failures.pop(), body="no")
        else:
            route.fallback()

    page.route("**/parts/1", fail)
    choose_file(page, npy(board.example.scores(0.8)))
    page.get_by_label("Method").fill("again")
    page.get_by_role("button", name="Send").click()
    view = board.submission(page)
    assert view["state"] == "scored"
    parts = sorted(call.rsplit("/", 1)[1] for call in calls if call.startswith("PUT"))
    assert parts == ["0", "1", "1", "1", "2", "3"]
    visitor.errors[:] = [text for text in visitor.errors if "50" not in text]


def test_resumed_upload_sends_only_missing_parts(visitor: Visitor, board: Board, calls: list[str]) -> None:
    page = open_form(visitor, calls)
    # The browser counts bytes as sent before the response arrives. After a pause, the page skips only parts with a response, so
    # record the responses.
    page.evaluate("""() => {
      window.answered = [];
      const { send } = XMLHttpRequest.prototype;
      XMLHttpRequest.prototype.send = function (body) {
        this.addEventListener("loadend", () => window.answered.push(this.responseURL));
        send.call(this, body);
      };
    }""")
    held: list[Route] = []
    page.route("**/parts/3", lambda route: route.fallback() if held else held.append(route))
    choose_file(page, npy(board.example.scores(0.9)))
    page.get_by_label("Method").fill("paused")
    page.get_by_role("button", name="Send").click()

    def all_but_last_part_answered() -> bool:
        answered = {url.rsplit("/", 1)[1] for url in page.evaluate("answered") if "/parts/" in url}
        return bool(held) and answered == {"0", "1", "2"}

    until(all_but_last_part_answered, "responses to all parts but the last")
    assert page.locator("[data-part=amount]").inner_text() == "0.98 of 1.20 MB"
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("status").filter(has_text="Paused").wait_for()
    held[0].abort()
    page.get_by_role("button", name="Resume").click()
    assert board.submission(page)["state"] == "scored"
    parts = sorted(call.rsplit("/", 1)[1] for call in calls if call.startswith("PUT"))
    assert parts == ["0", "1", "2", "3", "3"]


def test_cancel_keeps_form_fields_and_expires_upload(visitor: Visitor, board: Board, calls: list[str]) -> None:
    page = open_form(visitor, calls)
    held: list[Route] = []
    page.route("**/parts/*", lambda route: held.append(route))  # noqa: PLW0108 -- playwright sets an attribute on the function
    choose_file(page, npy(board.example.scores(1.1)))
    page.get_by_label("Method").fill("cancelled")
    page.get_by_role("button", name="Send").click()
    page.get_by_role("button", name="Pause").wait_for()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("status").filter(has_text="Cancelled").wait_for()
    for route in held:
        route.abort()
    assert page.get_by_label("Method").input_value() == "cancelled"
    assert page.get_by_role("button", name="Send").is_enabled()
    assert not [call for call in calls if call.endswith("/complete")]
    (cancelled,) = [call.split("/")[-2] for call in calls if call.startswith("DELETE")]
    assert board.service.row(cancelled).state == "expired"


def test_cancel_during_announcement_deletes_upload_after_response(
    visitor: Visitor, board: Board, calls: list[str]
) -> None:
    page = open_form(visitor, calls)
    held: list[Route] = []
    page.route("**/api/v1/submissions", lambda route: held.append(route))  # noqa: PLW0108 -- playwright sets an attribute on the function
    choose_file(page, npy(board.example.scores(1.4)))
    page.get_by_label("Method").fill("taken-back")
    with page.expect_request("**/api/v1/submissions"):
        page.get_by_role("button", name="Send").click()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("status").filter(has_text="Cancelling").wait_for()
    with page.expect_response(lambda response: response.request.method == "DELETE") as deleted:
        held[0].continue_()
    assert deleted.value.ok
    page.get_by_role("status").filter(has_text="Nothing was kept").wait_for()
    assert page.get_by_role("button", name="Send").is_enabled()
    row = board.service.row(deleted.value.url.split("/")[-2])
    assert (row.method, row.state) == ("taken-back", "expired")
    assert not [call for call in calls if call.startswith("PUT")]


def test_form_can_be_used_with_keyboard_only(visitor: Visitor, board: Board, calls: list[str]) -> None:
    page = open_form(visitor, calls)

    def tab_to(label: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            if (
                page.get_by_label(label, exact=True)
                .or_(page.get_by_role("button", name=label))
                .first.evaluate("element => element === document.activeElement")
            ):
                return
        raise AssertionError(f"expected the keyboard to reach {label}")

    with page.expect_file_chooser() as chooser:
        # Playwright asks Chromium to intercept file dialogs without waiting for a response, so a key press can arrive first.
        # `tab_to` evaluates an expression in the page, which Chromium handles after that request.
        tab_to("Score file")
        page.keyboard.press("Space")
    content = npy(board.example.scores(1.2))
    chooser.value.set_files({"name": "scores.npy", "mimeType": "application/octet-stream", "buffer": content})
    page.get_by_role("status").filter(has_text="it fits").wait_for()
    tab_to("Method")
    page.keyboard.type("by-keyboard")
    tab_to("Send")
    page.keyboard.press("Enter")
    assert board.submission(page)["method"] == "by-keyboard"


def test_commands_replace_form_without_javascript(visitor: Visitor) -> None:
    page = visitor.open("/benchmarks/large/submit", javascript=False)
    assert page.locator("form#sending").is_hidden()
    assert page.get_by_text("The commands below submit a file without JavaScript").is_visible()
    assert page.locator("[data-way=curl]").is_visible()
    page.get_by_text("GitHub Actions", exact=True).click()
    assert page.locator("[data-way=actions]").is_visible()

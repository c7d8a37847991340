"""A score file sent from the browser: looked at, hashed, sent in parts, paused and gone on with, to its result."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from app.db.accounts import Scope
from ldsboard.problems import Problem
from tests.app.service import npy, until
from tests.browser.sending.form import N_TRAIN, PARTS, TARGETS, Board, choose, open_form

if TYPE_CHECKING:
    from playwright.sync_api import Route

    from tests.browser.conftest import Visitor


def test_a_file_of_several_parts_is_sent_to_its_result(visitor: Visitor, board: Board, calls: list[str]) -> None:
    page = open_form(visitor, calls)
    scores = board.example.scores(0.5)
    choose(page, npy(scores))
    told = page.get_by_role("status")
    told.filter(has_text=f"float32 scores of shape ({N_TRAIN}, {TARGETS}): it fits").wait_for()
    page.get_by_label("Method").fill("in-parts")
    page.get_by_label("Title").fill("Sent from a browser")
    page.get_by_label("Ranked").check()
    page.get_by_label("Everybody, without your name").check()
    page.get_by_text("Description, tags and cost").click()
    page.get_by_label("Description").fill("Two lines,\nhere.")
    page.get_by_label("Tags").fill("gradient ensemble")
    page.get_by_label("Seconds of computing").fill("12.5")
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
    assert row.cost == {"seconds": 12.5, "device": "a CPU", "models": 5}
    sent = [call for call in calls if call.startswith("PUT")]
    assert len(sent) == len(set(sent)) == PARTS
    assert [call for call in calls if call.startswith("POST")] == [
        "POST /account/submit-token",
        "POST /api/v1/submissions",
        f"POST /api/v1/submissions/{view['id']}/complete",
    ]


def test_who_is_not_signed_in_gives_a_token(visitor: Visitor, board: Board, calls: list[str]) -> None:
    page = open_form(visitor, calls, signed_in=False)
    choose(page, npy(board.example.scores(0.7)))
    page.get_by_label("Method").fill("by-token")
    page.get_by_label("You alone").check()
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
    visitor.troubles[:] = [text for text in visitor.troubles if "404" not in text]  # its page is not for visitors


def test_a_token_that_only_submits_sends_an_anonymous_file_that_is_never_public(
    visitor: Visitor, board: Board, calls: list[str]
) -> None:
    page = open_form(visitor, calls, signed_in=False)
    choose(page, npy(board.example.scores(0.6)))
    page.get_by_label("Method").fill("unseen")
    page.get_by_label("Everybody, without your name").check()
    page.get_by_text("Description, tags and cost").click()
    page.get_by_label("Description").fill("Two lines,\nhere.")
    page.get_by_label("Tags").fill(" gradient  ensemble ")
    page.get_by_label("Token").fill(board.service.token("uma", scopes=[Scope.SUBMIT]))
    with page.expect_request(lambda request: request.url.endswith("/api/v1/submissions")) as announced:
        page.get_by_role("button", name="Send").click()
    view = board.submission(page)
    assert view["state"] == "scored"
    said = json.loads(announced.value.post_data or "")
    assert (said["visibility"], said["description"]) == ("anonymous", "Two lines,\nhere.")
    assert said["tags"] == ["gradient", "ensemble"]
    assert [call for call in calls if call.startswith(("POST", "PATCH"))] == [
        "POST /api/v1/submissions",
        f"POST /api/v1/submissions/{view['id']}/complete",
    ]
    row = board.service.row(view["id"])
    assert (row.visibility, row.description, row.tags) == ("anonymous", said["description"], said["tags"])


def test_an_upload_that_is_refused_on_its_way_is_given_up(visitor: Visitor, board: Board, calls: list[str]) -> None:
    page = open_form(visitor, calls)
    problem = Problem("scores.shape", "These are other scores.", "Send it again.").as_dict()
    page.route("**/parts/1", lambda route: route.fulfill(status=422, json=problem))
    choose(page, npy(board.example.scores(1.3)))
    page.get_by_label("Method").fill("given-up")
    with page.expect_response(lambda response: response.request.method == "DELETE") as given_up:
        page.get_by_role("button", name="Send").click()
    assert given_up.value.ok
    page.get_by_role("alert").filter(has_text=problem["title"]).wait_for()
    assert page.get_by_role("button", name="Send").is_enabled()
    assert board.service.row(given_up.value.url.split("/")[-2]).state == "expired"
    visitor.troubles[:] = [text for text in visitor.troubles if "422" not in text]


def test_a_token_that_is_not_valid_is_refused_in_words(visitor: Visitor, board: Board, calls: list[str]) -> None:
    page = open_form(visitor, calls, signed_in=False)
    choose(page, npy(board.example.scores(0.7)))
    page.get_by_label("Method").fill("nobody")
    page.get_by_label("Token").fill("ldsb_wrong")
    page.get_by_role("button", name="Send").click()
    page.get_by_role("alert").filter(has_text="The token is not valid").wait_for()
    assert page.get_by_role("button", name="Send").is_enabled()
    visitor.troubles[:] = [text for text in visitor.troubles if "401" not in text]


def test_a_part_that_fails_is_sent_again_alone(visitor: Visitor, board: Board, calls: list[str]) -> None:
    page = open_form(visitor, calls)
    failures = [503, 500]

    def fail(route: Route) -> None:
        if failures:
            route.fulfill(status=failures.pop(), body="no")
        else:
            route.fallback()

    page.route("**/parts/1", fail)
    choose(page, npy(board.example.scores(0.8)))
    page.get_by_label("Method").fill("again")
    page.get_by_role("button", name="Send").click()
    view = board.submission(page)
    assert view["state"] == "scored"
    parts = sorted(call.rsplit("/", 1)[1] for call in calls if call.startswith("PUT"))
    assert parts == ["0", "1", "1", "1", "2", "3"]
    visitor.troubles[:] = [text for text in visitor.troubles if "50" not in text]


def test_a_paused_upload_goes_on_with_what_is_missing(visitor: Visitor, board: Board, calls: list[str]) -> None:
    page = open_form(visitor, calls)
    # Bytes count as sent before the answer to them has come; what a pause spares is what the page has the answer to.
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
    choose(page, npy(board.example.scores(0.9)))
    page.get_by_label("Method").fill("paused")
    page.get_by_role("button", name="Send").click()

    def all_but_the_last() -> bool:
        answered = {url.rsplit("/", 1)[1] for url in page.evaluate("answered") if "/parts/" in url}
        return bool(held) and answered == {"0", "1", "2"}

    until(all_but_the_last, "the answers to all parts but the last")
    assert page.locator("[data-part=amount]").inner_text() == "0.98 of 1.20 MB"
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("status").filter(has_text="Paused").wait_for()
    held[0].abort()
    page.get_by_role("button", name="Go on").click()
    assert board.submission(page)["state"] == "scored"
    parts = sorted(call.rsplit("/", 1)[1] for call in calls if call.startswith("PUT"))
    assert parts == ["0", "1", "2", "3", "3"]


def test_a_cancelled_upload_leaves_the_form_as_it_was(visitor: Visitor, board: Board, calls: list[str]) -> None:
    page = open_form(visitor, calls)
    held: list[Route] = []
    page.route("**/parts/*", lambda route: held.append(route))  # noqa: PLW0108 -- playwright marks what it is given
    choose(page, npy(board.example.scores(1.1)))
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
    (given_up,) = [call.split("/")[-2] for call in calls if call.startswith("DELETE")]
    assert board.service.row(given_up).state == "expired"


def test_an_upload_that_is_cancelled_while_it_is_announced_is_taken_back_when_the_answer_comes(
    visitor: Visitor, board: Board, calls: list[str]
) -> None:
    page = open_form(visitor, calls)
    held: list[Route] = []
    page.route("**/api/v1/submissions", lambda route: held.append(route))  # noqa: PLW0108 -- playwright marks what it is given
    choose(page, npy(board.example.scores(1.4)))
    page.get_by_label("Method").fill("taken-back")
    with page.expect_request("**/api/v1/submissions"):
        page.get_by_role("button", name="Send").click()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("status").filter(has_text="Cancelling").wait_for()
    with page.expect_response(lambda response: response.request.method == "DELETE") as taken_back:
        held[0].continue_()
    assert taken_back.value.ok
    page.get_by_role("status").filter(has_text="Nothing is kept of it").wait_for()
    assert page.get_by_role("button", name="Send").is_enabled()
    row = board.service.row(taken_back.value.url.split("/")[-2])
    assert (row.method, row.state) == ("taken-back", "expired")
    assert not [call for call in calls if call.startswith("PUT")]


def test_the_keyboard_alone_sends_a_file(visitor: Visitor, board: Board, calls: list[str]) -> None:
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
        # Playwright asks Chromium for its dialogs and does not wait for the answer; a key pressed meanwhile can overtake it.
        # `tab_to` evaluates something in the page, and that takes the way of the request, behind it.
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


def test_without_javascript_the_commands_take_the_place_of_the_form(visitor: Visitor) -> None:
    page = visitor.open("/benchmarks/large/submit", javascript=False)
    assert page.locator("form#sending").is_hidden()
    assert page.get_by_text("The commands below do the same").is_visible()
    assert page.locator("[data-way=curl]").is_visible()
    page.get_by_text("GitHub Actions", exact=True).click()
    assert page.locator("[data-way=actions]").is_visible()

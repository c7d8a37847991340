"""A score file sent from the browser: looked at, hashed, sent in parts, paused and gone on with, to its result."""

from __future__ import annotations

import io
import json
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import save

from app.db.accounts import Scope
from ldsboard.formats import HEADER_LIMIT, read_header
from ldsboard.problems import ProblemError
from ldsboard.scores import check_shape
from tests.app.benchmarks import write_benchmark
from tests.app.pages.provider import Provider
from tests.app.service import Service, npy
from tests.browser.conftest import Site, Visitor
from tests.browser.test_accessibility import grave

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page, Request, Route

    from tests.app.benchmarks import Example

N_TRAIN, TARGETS = 1200, 250
PART_BYTES, PARTS = 320 * 1024, 4
"""What a file of float32 scores is sent in; it is longer than what is hashed at once."""

LIMIT = 3_000_000


class Board:
    """A server that takes small parts and signs people in, and a benchmark whose files need several."""

    def __init__(self, service: Service, example: Example) -> None:
        self.service, self.example = service, example

    def submission(self, page: Page) -> dict[str, Any]:
        """Return the submission on whose page the browser has arrived, once it is final."""
        page.wait_for_url("**/submissions/*")
        return self.service.settled(page.url.rsplit("/", 1)[1])


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    example = write_benchmark(tmp_path_factory.mktemp("large"), "large", n=N_TRAIN, N=TARGETS)
    with (
        Provider() as provider,
        Service(
            tmp_path_factory.mktemp("board"), part_bytes=PART_BYTES, max_upload_bytes=LIMIT, **provider.settings
        ) as service,
    ):
        service.publish(example.folder)
        yield Board(service, example)


@pytest.fixture
def visitor(browser: Browser, board: Board) -> Iterator[Visitor]:
    someone = Visitor(browser, Site(board.service.url, {}, board.service, board.example))
    yield someone
    for page in someone.pages:
        page.close()
    assert someone.troubles == []


@pytest.fixture
def calls() -> list[str]:
    """What the page has asked of the API."""
    return []


def _open(visitor: Visitor, calls: list[str], *, signed_in: bool = True, **options: Any) -> Page:
    def note(request: Request) -> None:
        path = request.url.removeprefix(visitor.site.url)
        if path.startswith(("/api/", "/account/")):
            calls.append(f"{request.method} {path}")

    page = visitor.open("/", **options)
    if signed_in:
        page.goto("/sign-in/oidc")
        visitor.troubles.clear()  # the way leads over another site, the provider's
    page.on("request", note)
    visitor.visit(page, "/benchmarks/large/submit")
    return page


def _choose(page: Page, content: bytes, name: str = "scores.npy") -> None:
    page.get_by_label("Score file").set_input_files(
        {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    )


def test_a_file_of_several_parts_is_sent_to_its_result(visitor: Visitor, board: Board, calls: list[str]) -> None:
    page = _open(visitor, calls)
    scores = board.example.scores(0.5)
    _choose(page, npy(scores))
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
    page = _open(visitor, calls, signed_in=False)
    _choose(page, npy(board.example.scores(0.7)))
    page.get_by_label("Method").fill("by-token")
    page.get_by_label("You alone").check()
    field = page.get_by_label("Token")
    assert field.get_attribute("autocomplete") == "off"
    token = board.service.token("tess")
    field.fill(token)
    page.get_by_role("button", name="Send").click()
    page.wait_for_url("**/submissions/*")
    row = board.service.row(page.url.rsplit("/", 1)[1])
    board.service.idle()
    assert (row.method, row.visibility, row.kind) == ("by-token", "private", "practice")
    assert page.evaluate("[localStorage.length, sessionStorage.length]") == [0, 0]
    assert token not in page.content()
    visitor.troubles[:] = [text for text in visitor.troubles if "404" not in text]  # its page is not for visitors


def test_a_token_that_only_submits_sends_an_anonymous_file_that_is_never_public(
    visitor: Visitor, board: Board, calls: list[str]
) -> None:
    page = _open(visitor, calls, signed_in=False)
    _choose(page, npy(board.example.scores(0.6)))
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
    page = _open(visitor, calls)
    problem = _as_the_library_says(REFUSED["integers"])
    page.route("**/parts/1", lambda route: route.fulfill(status=422, json=problem))
    _choose(page, npy(board.example.scores(1.3)))
    page.get_by_label("Method").fill("given-up")
    with page.expect_response(lambda response: response.request.method == "DELETE") as given_up:
        page.get_by_role("button", name="Send").click()
    assert given_up.value.ok
    page.get_by_role("alert").filter(has_text=problem["title"]).wait_for()
    assert page.get_by_role("button", name="Send").is_enabled()
    assert board.service.row(given_up.value.url.split("/")[-2]).state == "expired"
    visitor.troubles[:] = [text for text in visitor.troubles if "422" not in text]


def test_a_token_that_is_not_valid_is_refused_in_words(visitor: Visitor, board: Board, calls: list[str]) -> None:
    page = _open(visitor, calls, signed_in=False)
    _choose(page, npy(board.example.scores(0.7)))
    page.get_by_label("Method").fill("nobody")
    page.get_by_label("Token").fill("ldsb_wrong")
    page.get_by_role("button", name="Send").click()
    page.get_by_role("alert").filter(has_text="The token is not valid").wait_for()
    assert page.get_by_role("button", name="Send").is_enabled()
    visitor.troubles[:] = [text for text in visitor.troubles if "401" not in text]


def _archive(scores: Any, how: Callable[..., None] = np.savez) -> bytes:
    buffer = io.BytesIO()
    how(buffer, scores)
    return buffer.getvalue()


WHOLE = np.zeros((N_TRAIN, TARGETS), np.float32)
REFUSED: dict[str, bytes] = {
    "transposed": npy(WHOLE.T),
    "another shape": npy(WHOLE[:, :5]),
    "one dimension": npy(WHOLE[:, 0]),
    "no columns": npy(WHOLE[:, :0]),
    "integers": npy(WHOLE.astype(np.int64)),
    "big-endian and transposed": npy(WHOLE.T.astype(">f8")),
    "big-endian and cut": npy(WHOLE.astype(">f4"))[:-5],
    "cut": npy(WHOLE)[:-1],
    "cut in its header": npy(WHOLE)[:40],
    "too long": npy(WHOLE) + b"\0",
    "objects": npy(np.array([[None]])),
    "nothing": b"",
    "a pickle": pickle.dumps([1.0]),
    "an HDF5 file": b"\x89HDF\r\n\x1a\n" + bytes(20),
    "compressed": b"\x1f\x8b" + bytes(20),
    "text": b"it's,\t0.25\n0.5,0.75\n",
    "something else": b"\x00\x01'\"\\\xff" + bytes(20),
    "an empty archive": b"PK\x05\x06" + bytes(18),
    "a file of torch": b"PK\x03\x04" + bytes(22) + b"\x0f\0\0\0scores/data.pkl" + bytes(40),
    "an archive with an odd name": b"PK\x03\x04" + bytes(22) + b"\x06\0\0\0a\0\t.py" + bytes(40),
    "another archive": b"PK\x03\x04" + bytes(22) + b"\x0a\0\0\0scores.csv" + bytes(40),
    "a transposed archive": _archive(WHOLE.T),
    "transposed safetensors": save({"scores": WHOLE.T.copy()}),
    "cut safetensors": save({"scores": WHOLE})[:-1],
    "several safetensors": save(dict.fromkeys("abcde", WHOLE[:1])),
    "integer safetensors": save({"scores": WHOLE.astype(np.int32)}),
    "safetensors without JSON": (2).to_bytes(8, "little") + b"{:" + bytes(20),
}


def _as_the_library_says(content: bytes) -> dict[str, str]:
    with pytest.raises(ProblemError) as raised:
        check_shape(read_header(content[:HEADER_LIMIT], len(content)).shape, N_TRAIN, TARGETS)
    problem = raised.value.problem
    return {"title": problem.title, "expected": problem.expected, "got": problem.got, "hint": problem.hint} | {
        "code": problem.code
    }


def test_what_the_header_tells_is_refused_before_anything_is_sent_in_the_librarys_words(
    visitor: Visitor, calls: list[str]
) -> None:
    page = _open(visitor, calls)
    page.get_by_label("Method").fill("refused")
    alert = page.get_by_role("alert")
    for what, content in REFUSED.items():
        _choose(page, content)
        alert.locator("[data-word=code]").filter(has_text=_as_the_library_says(content)["code"]).wait_for()
        said = {word: alert.locator(f"[data-word={word}]").text_content() for word in _as_the_library_says(content)}
        assert said == _as_the_library_says(content), what
        page.get_by_role("button", name="Send").click()
        alert.wait_for()
    assert calls == []


def test_a_file_over_the_limit_is_refused_in_the_words_of_the_server(
    visitor: Visitor, board: Board, calls: list[str]
) -> None:
    content = npy(np.zeros((N_TRAIN, 400), np.float64))
    page = _open(visitor, calls)
    _choose(page, content)
    alert = page.get_by_role("alert")
    alert.wait_for()
    problem = board.service.submit(board.service.token("large"), "large", content).json()
    for word in ("title", "expected", "got", "hint", "code"):
        assert alert.locator(f"[data-word={word}]").text_content() == problem[word]
    assert calls == []


def test_what_can_be_scored_is_not_refused(visitor: Visitor, calls: list[str]) -> None:
    files = {
        "it fits": [
            npy(np.asfortranarray(WHOLE.astype("<f2"))),
            npy(WHOLE.astype(">f8")),
            _archive(WHOLE),
            save({"s": WHOLE}),
        ],
        "can be sent": [_archive(WHOLE, np.savez_compressed)],  # its header is compressed
    }
    page = _open(visitor, calls)
    for said, contents in files.items():
        for place, content in enumerate(contents):
            _choose(page, content, f"{place}.npy")
            page.get_by_role("status").filter(has_text=f"{place}.npy").filter(has_text=said).wait_for()
            assert page.get_by_role("alert").is_hidden()


def test_a_part_that_fails_is_sent_again_alone(visitor: Visitor, board: Board, calls: list[str]) -> None:
    page = _open(visitor, calls)
    failures = [503, 500]

    def fail(route: Route) -> None:
        if failures:
            route.fulfill(status=failures.pop(), body="no")
        else:
            route.fallback()

    page.route("**/parts/1", fail)
    _choose(page, npy(board.example.scores(0.8)))
    page.get_by_label("Method").fill("again")
    page.get_by_role("button", name="Send").click()
    view = board.submission(page)
    assert view["state"] == "scored"
    parts = sorted(call.rsplit("/", 1)[1] for call in calls if call.startswith("PUT"))
    assert parts == ["0", "1", "1", "1", "2", "3"]
    visitor.troubles[:] = [text for text in visitor.troubles if "50" not in text]


def test_a_paused_upload_goes_on_with_what_is_missing(visitor: Visitor, board: Board, calls: list[str]) -> None:
    page = _open(visitor, calls)
    held: list[Route] = []
    page.route("**/parts/3", lambda route: route.fallback() if held else held.append(route))
    _choose(page, npy(board.example.scores(0.9)))
    page.get_by_label("Method").fill("paused")
    page.get_by_role("button", name="Send").click()
    page.locator("[data-part=amount]").filter(has_text="0.98 of 1.20 MB").wait_for()  # all but the last part
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("status").filter(has_text="Paused").wait_for()
    held[0].abort()
    page.get_by_role("button", name="Go on").click()
    assert board.submission(page)["state"] == "scored"
    parts = sorted(call.rsplit("/", 1)[1] for call in calls if call.startswith("PUT"))
    assert parts == ["0", "1", "2", "3", "3"]


def test_a_cancelled_upload_leaves_the_form_as_it_was(visitor: Visitor, board: Board, calls: list[str]) -> None:
    page = _open(visitor, calls)
    held: list[Route] = []
    page.route("**/parts/*", lambda route: held.append(route))  # noqa: PLW0108 -- playwright marks what it is given
    _choose(page, npy(board.example.scores(1.1)))
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
    page = _open(visitor, calls)
    held: list[Route] = []
    page.route("**/api/v1/submissions", lambda route: held.append(route))  # noqa: PLW0108 -- playwright marks what it is given
    _choose(page, npy(board.example.scores(1.4)))
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
    page = _open(visitor, calls)

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

    tab_to("Score file")
    with page.expect_file_chooser() as chooser:
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


@pytest.mark.parametrize("width", [390, 1280])
def test_the_pages_of_an_account_fit_and_hold_nothing_grave(
    visitor: Visitor, board: Board, calls: list[str], width: int
) -> None:
    page = _open(visitor, calls, width=width)
    visitor.visit(page, "/account")
    owner = page.locator("h1").inner_text()
    method = f"a-very-long-name-of-a-method-{width}".ljust(64, "x")
    sent = board.service.scored(
        board.service.token(owner, ranked_per_day=99), "large", npy(board.example.scores(width)), method=method
    )
    page.reload()
    page.get_by_label(f"Change {method}").click()
    page.get_by_role("button", name="Pin").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert grave(page) == []
    page.locator("tr", has=page.locator(f"a[href='/submissions/{sent['id']}']")).get_by_text("Withdraw").click()
    page.get_by_role("heading", name=f"Withdraw {method}?").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert grave(page) == []
    page.get_by_role("button", name="Withdraw it").click()
    page.wait_for_url("**/account#submissions")
    assert board.service.row(sent["id"]).state == "withdrawn"


def test_the_words_of_the_page_are_data(visitor: Visitor, calls: list[str]) -> None:
    page = _open(visitor, calls)
    form = page.locator("#sending")
    assert json.loads(form.get_attribute("data-wanted") or "") == {
        "benchmark": "large",
        "n": N_TRAIN,
        "N": TARGETS,
        "limit": LIMIT,
    }

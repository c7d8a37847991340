"""Answers of proxies and other strangers in place of the server: their own words, their exit codes, and no lost places."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from ldsboard.commands import exits
from ldsboard.pending import pending_uploads
from tests.client.http_proxy import Answer, Cut, HttpProxy, Lose, Rule, page
from tests.client.uploads import states

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.app.service import Service
    from tests.client.shell import CommandResult, Shell

SIGN_IN = page(200, "Sign in to continue")


class Stranger(NamedTuple):
    """An answer of something else than the server, the exit code that belongs to it, and words that the user must see."""

    rule: Rule
    code: int
    words: str


STRANGERS = {
    "sign-in page": Stranger(SIGN_IN, exits.UNREACHABLE, "Sign in to continue"),
    "other JSON": Stranger(Answer(200, b'{"status": "ok"}'), exits.UNREACHABLE, '{"status": "ok"}'),
    "JSON list": Stranger(Answer(200, b"[1, 2]"), exits.UNREACHABLE, "[1, 2]"),
    "no content": Stranger(Answer(200), exits.UNREACHABLE, "status 200"),
    "redirect": Stranger(Answer(302, headers={"Location": "https://sso.example/"}), exits.UNREACHABLE, "sso.example"),
    "other site": Stranger(page(404, "Nothing here"), exits.UNREACHABLE, "Nothing here"),
    "failed gateway": Stranger(page(502, "Bad Gateway"), exits.UNREACHABLE, "Bad Gateway"),
    "failed stranger": Stranger(page(500, "Oops"), exits.UNREACHABLE, "Oops"),
    "reset": Stranger(Cut(), exits.UNREACHABLE, "No answer from"),
    "forbidden": Stranger(page(403, "Blocked &amp; logged"), exits.NOT_ALLOWED, "Blocked & logged"),
    "too large": Stranger(page(413, "Request Entity Too Large"), exits.NOT_ALLOWED, "Request Entity Too Large"),
    "own sign-in": Stranger(page(407, "Proxy login"), exits.NOT_ALLOWED, "Proxy login"),
    "JSON refusal": Stranger(
        Answer(403, b'{"error": {"message": "WAF rule 7"}}'), exits.NOT_ALLOWED, 'words: "WAF rule 7"'
    ),
    "busy for long": Stranger(page(429, "Slow down", Retry_After="3600"), exits.TIMED_OUT, "Try again after"),
    "busy again and again": Stranger(page(429, "Slow down", Retry_After="0"), exits.TIMED_OUT, "Slow down"),
}


@pytest.fixture
def user(service: Service, shell: Shell) -> str:
    """A user of this test alone, with two ranked submissions a day; the shell has the user's token."""
    name = f"user-{secrets.token_hex(6)}"
    shell.environment.setenv("LDSBOARD_TOKEN", service.token(name, ranked_per_day=2, ranked_per_version=100))
    return name


def only(method: str, rule: Rule, ending: str = "") -> Callable[[str, str], Rule]:
    """Return a rule for the requests with a method and an ending of the path."""
    return lambda called, path: rule if called == method and path.endswith(ending) else None


def check_words(result: CommandResult) -> None:
    """Check that an error is short, and does not blame the server or show a page as it came."""
    assert "Traceback" not in result.err
    assert "<" not in result.err
    assert "The server failed" not in result.err
    assert len(result.err) < 1000
    assert result.out == ""


@pytest.mark.parametrize("stranger", STRANGERS.values(), ids=list(STRANGERS))
def test_answer_of_a_stranger_has_its_exit_code_and_words(
    shell: Shell, scores: Path, proxy: HttpProxy, stranger: Stranger
) -> None:
    proxy.rule = lambda *_: stranger.rule
    for command in (
        ("leaderboard", "toy"),
        ("pull", "toy"),
        ("status", "0123456789abcdef"),
        ("status", "0123456789abcdef", "--wait"),
        ("compare", "0123456789abcdef", "fedcba9876543210"),
        ("submit", str(scores), "toy", "--method", "x", "--kind", "practice"),
    ):
        result = shell(*command)
        assert result.code == stranger.code, (command, result)
        assert stranger.words in result.err
        check_words(result)


@pytest.mark.parametrize(
    ("stranger", "left"),
    [
        ("too large", []),
        ("forbidden", []),
        ("sign-in page", ["uploading"]),
        ("other JSON", ["uploading"]),
        ("busy for long", ["uploading"]),
        ("reset", ["uploading"]),
    ],
)
def test_part_that_a_stranger_takes_uses_up_no_place(
    shell: Shell, scores: Path, service: Service, proxy: HttpProxy, user: str, stranger: str, left: list[str]
) -> None:
    rule, code, words = STRANGERS[stranger]
    proxy.rule = only("PUT", rule)
    send = ("submit", str(scores), "toy", "--method", "x", "--kind", "ranked")
    for _ in range(3):
        result = shell(*send)
        assert result.code == code
        assert words in result.err
        assert ("submit --resume" in result.err) is bool(left)
        assert ("takes no place" in result.err) is not bool(left)
        check_words(result)
    assert [state for state in states(service, user) if state != "expired"] == left
    proxy.rule = lambda *_: None
    assert shell(*send).code == 0
    assert [state for state in states(service, user) if state != "expired"] == ["scored"]
    assert pending_uploads(proxy.url) == []


def test_upload_that_a_proxy_refuses_and_does_not_let_cancel_is_continued(
    shell: Shell, scores: Path, service: Service, proxy: HttpProxy, user: str
) -> None:
    forbidden = page(403, "Forbidden")
    proxy.rule = lambda method, _: forbidden if method in ("PUT", "DELETE") else None
    send = ("submit", str(scores), "toy", "--method", "x", "--kind", "ranked")
    for _ in range(2):
        result = shell(*send)
        assert result.code == exits.NOT_ALLOWED
        assert "submit --resume" in result.err
    assert states(service, user) == ["uploading"]
    proxy.rule = lambda *_: None
    assert shell(*send).code == 0
    assert states(service, user) == ["scored"]


def test_files_beyond_the_limit_of_a_proxy_leave_all_places(
    shell: Shell, toy: Example, service: Service, proxy: HttpProxy, user: str, tmp_path: Path
) -> None:
    proxy.rule = only("PUT", page(413, "413 Request Entity Too Large"))
    for seed in range(3):
        path = tmp_path / f"{seed}.npy"
        np.save(path, toy.scores(seed=seed))
        result = shell("submit", str(path), "toy", "--method", "x", "--kind", "ranked")
        assert result.code == exits.NOT_ALLOWED
        assert f"request bodies of {path.stat().st_size} bytes" in result.err
        assert "[proxy.refused]" in result.err
    assert set(states(service, user)) == {"expired"}
    proxy.rule = lambda *_: None
    for seed in range(2):
        path = tmp_path / f"{seed}.npy"
        assert shell("submit", str(path), "toy", "--method", "x", "--kind", "ranked", "--no-wait").code == 0


@pytest.mark.parametrize("stage", ["/submissions", "/complete"])
@pytest.mark.parametrize("rule", [Lose(), page(502, "Bad Gateway"), SIGN_IN], ids=["lost", "bad gateway", "sign-in"])
def test_lost_answer_to_announcement_or_completion_makes_no_second_submission(
    shell: Shell, scores: Path, service: Service, proxy: HttpProxy, user: str, stage: str, rule: Rule
) -> None:
    proxy.rule = only("POST", rule, stage)
    send = ("submit", str(scores), "toy", "--method", "x", "--kind", "ranked")
    for _ in range(2):
        result = shell(*send)
        assert result.code == exits.UNREACHABLE
        assert f"submit --resume {scores}" in result.err
    proxy.rule = lambda *_: None
    assert shell("submit", "--resume").code == 0
    assert states(service, user) == ["scored"]


def test_failed_wait_names_the_command_that_goes_on(
    shell: Shell, scores: Path, service: Service, proxy: HttpProxy, user: str
) -> None:
    for rule, code in ((SIGN_IN, exits.UNREACHABLE), (page(429, "Slow down", Retry_After="3600"), exits.TIMED_OUT)):
        proxy.rule = only("GET", rule)
        result = shell("submit", str(scores), "toy", "--method", "x", "--kind", "ranked")
        assert result.code == code
        assert "ldsboard status --wait " in result.err
        assert "--resume" not in result.err
        command = result.err.partition("ldsboard status --wait ")[2].split()
        proxy.rule = lambda *_: None
        assert shell("status", "--wait", command[0]).code == 0
    assert states(service, user) == ["scored", "expired"]  # the second file is the same as the first


def test_passing_refusals_are_waited_for(
    shell: Shell, scores: Path, service: Service, proxy: HttpProxy, user: str
) -> None:
    interrupted = {"code": "upload.interrupted", "detail": "The body ended early.", "hint": "Send it again."}
    passing: list[Rule] = [
        page(429, "Slow down", Retry_After="0"),
        page(429, "Slow down"),
        page(408, "Too slow"),
        Answer(400, json.dumps(interrupted).encode()),
        Cut(),
    ]
    proxy.rule = lambda method, _: passing.pop() if method == "PUT" and passing else None
    assert shell("submit", str(scores), "toy", "--method", "x", "--kind", "ranked").code == 0
    assert passing == []
    assert states(service, user) == ["scored"]


@pytest.mark.usefixtures("user")
def test_body_that_never_arrives_whole_makes_the_server_unreachable(
    shell: Shell, scores: Path, proxy: HttpProxy
) -> None:
    interrupted = {"code": "upload.interrupted", "detail": "The body ended early.", "hint": "Send it again."}
    proxy.rule = only("PUT", Answer(400, json.dumps(interrupted).encode()))
    result = shell("submit", str(scores), "toy", "--method", "x", "--kind", "ranked")
    assert result.code == exits.UNREACHABLE
    assert "The body ended early." in result.err


def test_download_that_is_a_page_leaves_the_cache_as_it_was(shell: Shell, proxy: HttpProxy, tmp_path: Path) -> None:
    for file in ("public.npz", "kit.zip"):
        proxy.rule = only("GET", SIGN_IN, file)
        result = shell("pull", "toy")
        assert result.code == exits.UNREACHABLE
        assert "Sign in to continue" in result.err
        check_words(result)
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_proxy_of_the_network_that_refuses_the_connection(shell: Shell, scores: Path, proxy: HttpProxy) -> None:
    shell.environment.setenv("HTTPS_PROXY", proxy.url)
    shell.environment.setenv("LDSBOARD_SERVER", "https://board.example")
    proxy.rule = only("CONNECT", page(403, "Blocked"))
    result = shell("submit", str(scores), "toy", "--method", "x")
    assert result.code == exits.NOT_ALLOWED
    assert "[proxy.refused]" in result.err
    assert proxy.count("CONNECT") == 1
    proxy.rule = only("CONNECT", page(502, "Bad Gateway"))
    result = shell("leaderboard", "toy")
    assert result.code == exits.UNREACHABLE
    assert "502" in result.err

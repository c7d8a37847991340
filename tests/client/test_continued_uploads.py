"""The same file announced again: an unfinished upload is continued or replaced, and takes one place in the quota."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ldsboard.client import Client, RefusedError, UnreachableError
from ldsboard.commands import exits
from ldsboard.pending import pending_uploads
from ldsboard.problems import ProblemError
from ldsboard.reservations import GivenUp, give_up
from tests.client.http_proxy import Answer, Lose, page

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.client.shell import Shell
    from tests.client.uploads import Sender

LOGIN = page(200, "Sign in")
FAILED = Answer(
    500,
    b'{"code": "internal.error", "status": 500, "title": "Internal error", "detail": "A call failed.", "hint": ""}',
    {"Content-Type": "application/problem+json"},
)


def test_same_announcement_goes_on_with_the_open_upload(sender: Sender, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"title": "Ours", "cost": {"seconds": 1.5}, "provenance": {"commit": "0123abc"}}
    first = sender.break_off(**fields)
    assert sender.break_off(**fields).id == first.id
    sender.scores = sender.scores.rename(tmp_path / "moved.npy")
    assert sender.break_off(**fields).path == str(sender.scores)
    assert len(pending_uploads(sender.proxy.url)) == 1
    assert sender.send(**fields)["id"] == first.id
    assert sender.states == ["arrived"]
    assert pending_uploads(sender.proxy.url) == []
    assert list((tmp_path / "cache" / "uploads").iterdir()) == []


@pytest.mark.parametrize(
    "fields", [{"visibility": "private"}, {"title": "Other"}, {"provenance": {"commit": "0123abc"}}]
)
def test_announcement_with_other_fields_replaces_the_open_upload(sender: Sender, fields: dict[str, Any]) -> None:
    sender.break_off()
    view = sender.send(**fields)
    assert sender.states == ["expired", "arrived"]
    for name, value in fields.items():
        assert view[name] == value if isinstance(value, str) else value.items() <= view[name].items()
    assert pending_uploads(sender.proxy.url) == []


def test_other_method_or_kind_is_another_upload(sender: Sender) -> None:
    first = sender.break_off()
    assert sender.send(kind="practice")["id"] != first.id
    assert sorted(sender.states) == ["arrived", "uploading"]
    assert [upload.id for upload in pending_uploads(sender.proxy.url)] == [first.id]


@pytest.mark.parametrize("fields", [{}, {"visibility": "private"}])
def test_upload_of_another_account_is_left_alone(sender: Sender, fields: dict[str, Any]) -> None:
    first = sender.break_off()
    other = f"user-{secrets.token_hex(6)}"
    view = sender.send(sender.service.token(other), **fields)
    assert (view["owner"], view["id"] == first.id) == (other, False)
    assert sender.states == ["uploading"]
    assert [upload.id for upload in pending_uploads(sender.proxy.url)] == [first.id]
    assert sender.send()["id"] == first.id


def test_upload_that_another_process_sends_is_left_alone(sender: Sender) -> None:
    first = sender.break_off(kind="practice")
    with first.in_use() as held:
        assert held
        with pytest.raises(ProblemError, match=f"Another process is sending {sender.scores}"):
            sender.send(kind="practice")  # no second upload of the same
        assert sender.states == ["uploading"]
        assert sender.send(kind="practice", title="Other")["id"] != first.id
        assert sender.states == ["uploading", "arrived"]
    with first.in_use() as held:
        assert held


def test_ended_upload_is_not_continued(sender: Sender) -> None:
    first = sender.break_off()
    with Client(sender.service.url, first.capability) as client:
        client.cancel(first.id)
    assert sender.send()["id"] != first.id
    assert sender.states == ["expired", "arrived"]
    assert pending_uploads(sender.proxy.url) == []


@pytest.mark.parametrize("fields", [{}, {"title": "Other"}])
def test_unanswered_announcement_takes_no_second_place(sender: Sender, fields: dict[str, Any]) -> None:
    sender.proxy.rule = lambda method, _: Lose() if method == "POST" else None
    with pytest.raises(UnreachableError):
        sender.send()
    assert sender.states == ["uploading"]
    (record,) = pending_uploads(sender.proxy.url)
    assert record.id == record.capability == ""
    sender.proxy.rule = lambda *_: None
    sender.send(**fields)
    assert sender.states == (["expired", "arrived"] if fields else ["arrived"])
    assert pending_uploads(sender.proxy.url) == []


def test_refused_announcement_leaves_no_record(sender: Sender) -> None:
    with pytest.raises(RefusedError, match=r"auth\.invalid"):
        sender.send("ldsb_wrong")
    assert pending_uploads(sender.proxy.url) == []


def test_refused_announcement_with_other_fields_leaves_the_open_upload(sender: Sender, shell: Shell) -> None:
    shell.environment.setenv("LDSBOARD_SERVER", sender.proxy.url)
    sender.break_off()
    (open_upload,) = pending_uploads(sender.proxy.url)
    with open_upload.in_use():
        result = shell("submit", str(sender.scores), "toy", "--method", "x", "--title", "B", "--token", sender.token)
    assert (result.code, "Resume with" in result.err) == (exits.QUOTA, False)
    assert pending_uploads(sender.proxy.url) == [open_upload]
    assert shell("submit", "--resume", "--token", sender.token).code == 0
    assert sender.states == ["arrived"]


def test_record_that_cannot_be_announced_again_does_not_stop_other_fields(sender: Sender) -> None:
    sender.proxy.rule = lambda method, _: LOGIN if method == "POST" else None
    with pytest.raises(UnreachableError):
        sender.send(kind="practice", title="Other")
    announcements: list[str] = []

    def rule(method: str, path: str) -> Answer | None:
        if method != "POST" or not path.endswith("/submissions"):
            return None
        announcements.append(path)
        return LOGIN if len(announcements) == 1 else None  # the announcement with the other title

    sender.proxy.rule = rule
    sender.send(kind="practice")
    assert (len(announcements), sender.states) == (2, ["arrived"])


def test_text_that_is_not_unicode_is_refused_before_anything_is_recorded(sender: Sender, shell: Shell) -> None:
    shell.environment.setenv("LDSBOARD_SERVER", sender.proxy.url)
    submit = ("submit", str(sender.scores), "toy", "--method", "x", "--token", sender.token)
    result = shell(*submit, "--description", "caf\udce9")
    assert (result.code, "texts in UTF-8, got '\\udce9'" in result.err) == (exits.USAGE, True)
    assert shell("submit", str(sender.scores), "caf\udce9", "--method", "x", "--no-regress-from", "latest").code == 2
    assert pending_uploads(sender.proxy.url) == []
    with pytest.raises(ProblemError, match="UTF-8"):
        sender.send(title="caf\udce9")


def test_lost_answer_to_completion_returns_the_submission(sender: Sender) -> None:
    sender.proxy.rule = lambda _, path: Lose() if path.endswith("/complete") else None
    with pytest.raises(UnreachableError):
        sender.send(visibility="private")
    sender.proxy.rule = lambda *_: None
    sent = sender.proxy.count("PUT")
    assert sender.send(visibility="private")["visibility"] == "private"
    assert (sender.states, sender.proxy.count("PUT")) == (["arrived"], sent)


def test_file_that_changes_during_the_upload_frees_its_place(sender: Sender) -> None:
    def change(method: str, _: str) -> None:
        if method == "POST":
            sender.scores.write_bytes(sender.scores.read_bytes()[:-8] + bytes(8))

    sender.proxy.rule = change
    with pytest.raises(ProblemError, match="has changed since the upload began"):
        sender.send()
    assert sender.states == ["expired"]
    assert pending_uploads(sender.proxy.url) == []
    sender.proxy.rule = lambda *_: None
    sender.send()
    assert sender.states == ["expired", "arrived"]


def test_file_that_the_first_part_rules_out_leaves_no_record(sender: Sender, toy: Example) -> None:
    np.save(sender.scores, toy.scores()[1:])
    with pytest.raises(RefusedError, match="wrong shape"):
        sender.send()
    assert sender.states == ["expired"]
    assert pending_uploads(sender.proxy.url) == []


@pytest.mark.parametrize("answer", [FAILED, page(403, "Forbidden"), page(429, "Slow down", Retry_After="3600")])
def test_upload_may_be_open_unless_the_server_itself_refused_its_announcement(sender: Sender, answer: Answer) -> None:
    sender.proxy.rule = lambda method, _: answer if method == "POST" else None
    with pytest.raises(RefusedError):
        sender.send()
    (left,) = pending_uploads(sender.proxy.url)
    with Client(sender.proxy.url, sender.token) as client:
        assert give_up(client, left) is GivenUp.UNKNOWN
    assert pending_uploads(sender.proxy.url) == [left]

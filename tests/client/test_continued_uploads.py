"""The same file announced again: an unfinished upload is continued or replaced, and takes one place in the quota."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from ldsboard import sending
from ldsboard.client import Client, RefusedError, UnreachableError
from ldsboard.commands import exits
from ldsboard.pending import PendingUpload, pending_uploads
from ldsboard.problems import ProblemError
from ldsboard.reservations import GivenUp, give_up
from tests.client.http_proxy import Answer, HttpProxy, Lose, page
from tests.client.uploads import states

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.app.service import Service
    from tests.client.shell import Shell

BROKEN, LOGIN = Answer(502), page(200, "Sign in")
FAILED = Answer(
    500,
    b'{"code": "internal.error", "status": 500, "title": "Internal error", "detail": "A call failed.", "hint": ""}',
    {"Content-Type": "application/problem+json"},
)


class Sender:
    """A user who sends one score file through a proxy, with calls of the library."""

    def __init__(self, service: Service, proxy: HttpProxy, scores: Path) -> None:
        self.service, self.proxy, self.scores = service, proxy, scores
        self.name = f"user-{secrets.token_hex(6)}"
        self.token = service.token(self.name, ranked_per_day=1, ranked_per_version=1)

    def send(self, token: str = "", **fields: Any) -> dict[str, Any]:
        """Send the file, and return the submission."""
        with Client(self.proxy.url, token or self.token) as client:
            return sending.submit(client, "toy", self.scores, method="x", **fields)

    def break_off(self, **fields: Any) -> PendingUpload:
        """Send the file through a broken proxy, and return the record of the upload that is left."""
        self.proxy.rule = lambda method, _: BROKEN if method == "PUT" else None
        with pytest.raises(UnreachableError):
            self.send(**fields)
        self.proxy.rule = lambda *_: None
        return pending_uploads(self.proxy.url)[-1]

    @property
    def states(self) -> list[str]:
        """The states of the user's submissions; the states after the arrival of the file count as one."""
        return [
            "arrived" if state in {"queued", "scoring", "scored"} else state
            for state in states(self.service, self.name)
        ]


@pytest.fixture
def sender(service: Service, shell: Shell, scores: Path) -> Iterator[Sender]:
    shell.environment.delenv("LDSBOARD_TOKEN")
    with HttpProxy(service.port) as proxy:
        yield Sender(service, proxy, scores)


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


@pytest.mark.parametrize("fields", [{}, {"title": "Other"}])
def test_upload_that_another_process_sends_is_left_alone(sender: Sender, fields: dict[str, Any]) -> None:
    first = sender.break_off(kind="practice")
    with first.in_use() as held:
        assert held
        assert sender.send(kind="practice", **fields)["id"] != first.id
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
    np.save(sender.scores, toy.scores().T)
    with pytest.raises(RefusedError, match="transposed"):
        sender.send()
    assert sender.states == ["expired"]
    assert pending_uploads(sender.proxy.url) == []


def test_torch_file_is_resumed_and_repeated_under_its_own_name(
    shell: Shell, service: Service, sender: Sender, toy: Example, tmp_path: Path
) -> None:
    own = tmp_path / "own file.pt"
    torch.save(torch.from_numpy(toy.scores().astype(np.float32)), own)
    shell.environment.setenv("LDSBOARD_SERVER", sender.proxy.url)
    shell.environment.setenv("LDSBOARD_TOKEN", sender.token)
    send = ("submit", str(own), "toy", "--method", "x", "--kind", "ranked")
    for command in (send, send, ("submit", "--resume", str(own))):
        sender.proxy.rule = lambda method, _: BROKEN if method == "PUT" else None
        result = shell(*command)
        assert result.code == exits.UNREACHABLE
        assert f"submit --resume '{own}'" in result.err
        (record,) = pending_uploads(sender.proxy.url, own)
    sender.proxy.rule = lambda *_: None
    result = shell("submit", "--resume", str(own), "--json")
    assert result.code == 0, result.err
    assert result.json["id"] == record.id
    assert states(service, sender.name) == ["scored"]


def test_changed_torch_file_is_not_resumed(shell: Shell, sender: Sender, toy: Example, tmp_path: Path) -> None:
    own = tmp_path / "own.pt"
    torch.save(torch.from_numpy(toy.scores()), own)
    shell.environment.setenv("LDSBOARD_SERVER", sender.proxy.url)
    shell.environment.setenv("LDSBOARD_TOKEN", sender.token)
    sender.proxy.rule = lambda method, _: LOGIN if method == "PUT" else None
    assert shell("submit", str(own), "toy", "--method", "x", "--kind", "ranked").code == exits.UNREACHABLE
    torch.save(torch.from_numpy(toy.scores(seed=1)), own)
    result = shell("submit", "--resume", str(own))
    assert result.code == exits.REJECTED
    assert f"{own} has changed" in result.err
    assert sender.states == ["expired"]


@pytest.mark.parametrize("answer", [FAILED, page(403, "Forbidden"), page(429, "Slow down", Retry_After="3600")])
def test_upload_may_be_open_unless_the_server_itself_refused_its_announcement(sender: Sender, answer: Answer) -> None:
    sender.proxy.rule = lambda method, _: answer if method == "POST" else None
    with pytest.raises(RefusedError):
        sender.send()
    (left,) = pending_uploads(sender.proxy.url)
    with Client(sender.proxy.url, sender.token) as client:
        assert give_up(client, left) is GivenUp.UNKNOWN
    assert pending_uploads(sender.proxy.url) == [left]


@pytest.mark.parametrize(
    "damage",
    [
        {"announced": [1]},
        {"announced": {"benchmark": "toy"}},
        {"announced": {"benchmark": "toy", "method": "x", "visibility": ["x"]}},
        {"conversion": "x"},
        {"conversion": {"axes": 1}},
        {"size": True},
        {"id": "../x"},
        {"id": "../x", "key": ""},
        {"path": "/a\0b"},
        "[" * 100_000,
    ],
)
def test_damaged_record_is_deleted(shell: Shell, sender: Sender, damage: dict[str, Any] | str) -> None:
    shell.environment.setenv("LDSBOARD_SERVER", sender.proxy.url)
    record = sender.break_off().file
    record.write_text(damage if isinstance(damage, str) else json.dumps(json.loads(record.read_text()) | damage))
    result = shell("submit", "--resume")
    assert (result.code, "got none" in result.err) == (exits.USAGE, True)
    assert list(record.parent.iterdir()) == []  # neither the record nor its lock file


def test_damaged_record_leaves_the_lock_of_another_process(sender: Sender) -> None:
    left = sender.break_off()
    left.file.write_text("[]")
    with left.in_use() as held:
        assert held
        assert pending_uploads(sender.proxy.url) == []
        assert list(left.file.parent.iterdir()) == [left.file.with_suffix(".lock")]


def test_upload_that_another_process_sends_is_not_resumed(shell: Shell, sender: Sender) -> None:
    shell.environment.setenv("LDSBOARD_SERVER", sender.proxy.url)
    left = sender.break_off()
    with left.in_use() as held:
        assert held
        sender.scores.write_bytes(sender.scores.read_bytes()[:-8] + bytes(8))  # a resumed upload would be given up
        result = shell("submit", "--resume", str(sender.scores))
        assert (result.code, sender.states) == (exits.USAGE, ["uploading"])
        assert f"Another process is sending {sender.scores}" in result.err
        assert "Resume with" not in result.err
    assert pending_uploads(sender.proxy.url) == [left]
    assert shell("submit", "--resume", str(sender.scores)).code == exits.REJECTED  # the file has changed

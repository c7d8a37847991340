"""``ldsboard submit --resume``: which interrupted upload goes on, and what stops it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from ldsboard.client import UnreachableError
from ldsboard.commands import exits
from ldsboard.pending import pending_uploads
from tests.client.http_proxy import Lose
from tests.client.uploads import BROKEN, Sender, states

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.app.service import Service
    from tests.client.shell import Shell


def test_wrong_token_does_not_lose_an_unanswered_announcement(sender: Sender, shell: Shell) -> None:
    shell.environment.setenv("LDSBOARD_SERVER", sender.proxy.url)
    sender.proxy.rule = lambda method, _: Lose() if method == "POST" else None
    with pytest.raises(UnreachableError):
        sender.send()
    sender.proxy.rule = lambda *_: None
    assert shell("submit", "--resume", "--token", "ldsb_wrong").code == exits.NOT_ALLOWED
    assert shell("submit", "--resume", "--token", sender.token).code == 0
    assert sender.states == ["arrived"]


def test_of_two_records_of_an_upload_the_one_with_an_id_is_continued(sender: Sender, shell: Shell) -> None:
    shell.environment.setenv("LDSBOARD_SERVER", sender.proxy.url)
    first = sender.break_off()
    replace(first, id="", capability="", key="0" * 32).save()  # its name sorts before that of the other
    assert shell("submit", "--resume", "--token", sender.token).code == 0
    assert sender.states == ["arrived"]


@pytest.mark.parametrize(
    "stated",
    [
        ("toy", "--method", "other"),
        ("toy", "--visibility", "private"),
        ("toy", "--practice"),
        ("another",),
        ("toy", "--title", "B"),
        ("toy", "--seconds", "3"),
    ],
)
def test_upload_is_not_resumed_with_other_options(sender: Sender, shell: Shell, stated: tuple[str, ...]) -> None:
    shell.environment.setenv("LDSBOARD_SERVER", sender.proxy.url)
    sender.break_off(kind="ranked", visibility="public", title="A")
    resume = ("submit", str(sender.scores), "--resume", "--token", sender.token)
    result = shell(*resume[:2], *stated, *resume[2:])
    assert (result.code, "Leave the option out" in result.err) == (exits.USAGE, True)
    assert sender.states == ["uploading"]
    assert shell(*resume[:2], "toy", "--method", "x", "--ranked", "--title", "A", *resume[2:]).code == 0


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
    sender.proxy.rule = lambda method, _: BROKEN if method == "PUT" else None
    assert shell("submit", str(own), "toy", "--method", "x", "--kind", "ranked").code == exits.UNREACHABLE
    torch.save(torch.from_numpy(toy.scores(seed=1)), own)
    result = shell("submit", "--resume", str(own))
    assert result.code == exits.REJECTED
    assert f"{own} has changed" in result.err
    assert sender.states == ["expired"]


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


def test_upload_of_a_file_that_is_gone_does_not_stop_others(shell: Shell, sender: Sender, tmp_path: Path) -> None:
    shell.environment.setenv("LDSBOARD_SERVER", sender.proxy.url)
    sender.break_off()
    gone = sender.scores.rename(tmp_path / "gone.npy")
    result = shell("submit", "--resume", "--token", sender.token)
    assert (result.code, "call ldsboard.submit again" in result.err) == (exits.USAGE, True)
    sender.scores = tmp_path / "other.npy"
    sender.scores.write_bytes(gone.read_bytes())
    sender.break_off(kind="practice")
    assert shell("submit", "--resume", "--token", sender.token).code == 0
    assert sorted(sender.states) == ["arrived", "uploading"]


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

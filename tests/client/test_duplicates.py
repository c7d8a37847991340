"""Files that the server already has: what the earlier submission keeps is printed, and a wider visibility is an error."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

import ldsboard
from ldsboard.client import RefusedError
from ldsboard.commands import exits

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.benchmarks import Example
    from tests.client.shell import CommandResult, Shell


def _submit(shell: Shell, scores: Path, method: str, *options: str) -> CommandResult:
    return shell("submit", str(scores), "toy", "--practice", "--json", "--method", method, *options)


@pytest.mark.parametrize("wait", ["--wait", "--no-wait"])
def test_repeated_file_keeps_its_fields_and_the_command_says_so(shell: Shell, scores: Path, wait: str) -> None:
    method = f"repeated-{secrets.token_hex(4)}"
    first = _submit(shell, scores, method, "--visibility", "private", "--description", "One", "--tag", "fast")
    assert "already has this file" not in first.err
    same = _submit(shell, scores, method, "--visibility", "private", "--description", "One", "--tag", "fast", wait)
    assert (same.code, same.json["id"]) == (0, first.json["id"])
    assert f"The server already has this file, as {first.json['id']}: " in same.err
    assert "Warning" not in same.err
    changed = _submit(shell, scores, method, "--description", "Two", "--paper", "https://example.org/p", wait)
    assert (changed.code, changed.json["description"], changed.json["visibility"]) == (0, "One", "private")
    assert f"Warning: {first.json['id']} keeps its visibility, description, paper, " in changed.err
    assert "PATCH /api/v1/submissions/" in changed.err
    quiet = _submit(shell, scores, method, "--description", "Two", "--quiet", wait)
    assert "keeps its visibility, description, " in quiet.err


@pytest.mark.parametrize(
    ("earlier", "wanted"), [("public", "private"), ("public", "anonymous"), ("anonymous", "private")]
)
def test_repeated_file_is_an_error_if_the_earlier_submission_shows_more(
    shell: Shell, scores: Path, toy: Example, earlier: str, wanted: str
) -> None:
    method = f"shown-{secrets.token_hex(4)}"
    first = _submit(shell, scores, method, "--visibility", earlier).json["id"]
    refused = _submit(shell, scores, method, "--visibility", wanted)
    assert (refused.code, refused.out) == (exits.USAGE, "")
    assert f"You sent this file before, as submission {first}, which is {earlier}. " in refused.err
    assert f"No new {wanted} submission was created, and {first} is still {earlier}. " in refused.err
    assert (
        f"Make submission {first} {wanted} on the page /account or with PATCH /api/v1/submissions/{first}. "
        in refused.err
    )
    assert "[request.conflict]" in refused.err
    with pytest.raises(RefusedError, match=f"No new {wanted} submission was created"):
        ldsboard.submit(toy.scores(), benchmark="toy", method=method, kind="practice", visibility=wanted)
    narrower = _submit(shell, scores, method, "--visibility", "public")
    assert (narrower.code, narrower.json["visibility"]) == (0, earlier)

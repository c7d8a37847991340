"""The command ``ldsboard review-link`` with a running server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from ldsboard.commands import exits

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.service import Service
    from tests.client.shell import Shell


def test_command_makes_and_withdraws_a_link(service: Service, shell: Shell, scores: Path) -> None:
    options = ("--method", "for-reviewers", "--visibility", "private", "--json")
    submission_id = shell("submit", str(scores), "toy", *options).json["id"]
    made = shell("review-link", submission_id)
    link = made.out.strip()
    assert (made.code, made.err, link.startswith(f"{service.url}/review?link=")) == (0, "", True)
    assert "for-reviewers" in httpx.get(link, trust_env=False).text
    second = shell("review-link", submission_id, "--json").json
    assert second.keys() == {"url", "created_at"}
    assert [httpx.get(url, trust_env=False).status_code for url in (link, second["url"])] == [404, 200]
    assert "is withdrawn" in shell("review-link", submission_id, "--withdraw").out
    assert httpx.get(second["url"], trust_env=False).status_code == 404
    assert shell("review-link", submission_id, "--withdraw", "--json").json == {"withdrawn": False}
    assert "has no review link" in shell("review-link", submission_id, "--withdraw").out


def test_unknown_submission_is_an_error(shell: Shell) -> None:
    refused = shell("review-link", "0" * 16)
    assert (refused.code, refused.out) == (shell("status", "0" * 16).code, "")
    assert "[submission.unknown]" in refused.err
    assert refused.code != exits.UNEXPECTED

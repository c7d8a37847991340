"""Hostile names and texts: rejected, or shown escaped as plain text."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    from tests.hostile.conftest import Board

METHODS = {
    "HTML": "<script>alert(1)</script>",
    "an attribute": 'a"onmouseover="alert(1)',
    "a turn to the left": "ours\u202egro.live",
    "a newline": "ours\n",
    "a line in the log": "ours\r\n127.0.0.1 - GET /",
    "a formula": "=1+1",
    "a minus": "-ours",
    "a path": "../../etc/passwd",
    "a null byte": "ours\0",
    "a letter that looks like another": "\u043eurs",
    "10 kB": "a" * 10_000,
    "nothing": "",
}


@pytest.mark.parametrize("name", METHODS)
def test_server_rejects_invalid_method_name(board: Board, name: str) -> None:
    before = board.service.rows()
    response = board.service.submit(board.token, board.example.name, board.valid_file(), method=METHODS[name])
    assert (response.status_code, response.json()["code"]) == (422, "request.invalid")
    assert len(response.content) < 2000
    assert board.service.rows() == before


TEXTS = {
    "HTML": "<script>alert(1)</script><img src=x onerror=alert(2)>",
    "an attribute": "\"onmouseover='alert(1)'",
    "a template": "{{ 7 * 7 }}{% for x in y %}",
    "a script from right to left": "\u05e9\u05dc\u05d5\u05dd title",
    "a formula": '=HYPERLINK("http://example.org","click")',
    "a formula behind a plus": "+cmd|' /C calc'!A0",
    "a formula behind an at sign": "@SUM(1+1)*cmd|' /C calc'!A0",
    "a formula behind a minus": "-2+3",
    "a cell that ends": '","=1+1","',
    "200 letters of four bytes": "\U0001f600" * 200,
}


@pytest.mark.parametrize(
    "text", ["safe \u202egpj.exe\u202c \u2066title\u2069", "one\ntwo\r\nthree", "a bell \a"], ids=ascii
)
def test_server_rejects_title_with_line_breaks_or_control_characters(board: Board, text: str) -> None:
    before = board.service.rows()
    response = board.service.submit(board.token, board.example.name, board.valid_file(), title=text)
    assert (response.status_code, response.json()["code"]) == (422, "request.invalid")
    assert board.service.rows() == before


@pytest.mark.parametrize("name", TEXTS)
def test_pages_and_csv_show_title_as_plain_text(board: Board, name: str) -> None:
    service, text = board.service, TEXTS[name]
    method = f"m{list(TEXTS).index(name)}"
    view = service.submit_and_score(
        board.token, board.example.name, board.valid_file(), method=method, title=text, device=text[:100]
    )
    assert view["title"] == text
    for page in (f"/benchmarks/{board.example.name}", f"/submissions/{view['id']}"):
        shown = httpx.get(f"{service.url}{page}", trust_env=False)
        assert shown.status_code == 200
        assert "<script>alert" not in shown.text
        assert "<img src=x" not in shown.text
        assert '"onmouseover=' not in shown.text
    table = service.client.get(f"/benchmarks/{board.example.name}/leaderboard", params={"format": "csv"})
    (row,) = [row for row in csv.DictReader(io.StringIO(table.text, newline="")) if row["id"] == view["id"]]
    assert row["title"].lstrip("'") == text
    for cell in row.values():
        assert not cell.startswith(("=", "+", "@", "\t", "\r"))
        assert not cell.startswith("-") or float(cell) < 0


@pytest.mark.parametrize(
    ("field", "text"), [("title", "t" * 10_000), ("title", "t" * 201), ("device", "d" * 10_000)], ids=len
)
def test_server_rejects_too_long_text(board: Board, field: str, text: str) -> None:
    before = board.service.rows()
    response = board.service.submit(board.token, board.example.name, board.valid_file(), **{field: text})
    assert (response.status_code, response.json()["code"]) == (422, "request.invalid")
    assert board.service.rows() == before

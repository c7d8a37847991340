"""The words of foreign answers, and the time in Retry-After."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from ldsboard.answers import MAX_RETRY_AFTER, RefusedError, UnreachableError, checked, members, retry_after, words

REQUEST = httpx.Request(
    "PUT", "https://me:secret@board.example/api", headers={"Content-Length": "12"}, content=b"x" * 12
)


def response(status: int, content: bytes = b"", **headers: str) -> httpx.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, content=content, headers=names, request=REQUEST)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"<html><HEAD><title>\n 403  Forbidden </title></head><body>more</body>", "403 Forbidden"),
        (b"<title lang=en>Caf\xc3\xa9 &amp; <b>bar</b></title>", "Café & bar"),
        (b"<p>No <b>title</b></p><script>alert(1)</script>\n<style>p {}</style>here", "No title here"),
        (b"<html><p>unfinished <a href=", "unfinished"),
        (b"<title> </title>", "Forbidden"),
        (b"", "Forbidden"),
        (b"plain\r\nwords\x1b[31m \x00here", "plain words [31m here"),
        (b'{"status": "ok"}', '{"status": "ok"}'),
        (b'{"code": 7, "message": "Too  large"}', "Too large"),
        (b'{"error": {"code": 3, "message": "Quota"}}', "Quota"),
        (b'{"error": 5, "msg": "Five"}', "Five"),
        (b"[1, 2]", "[1, 2]"),
        (b'"text"', '"text"'),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"[" * 100_000, "[" * 199 + "…"),
    ],
)
def test_words_of_a_foreign_answer_are_one_line(content: bytes, expected: str) -> None:
    assert words(response(403, content)) == expected


def test_long_answers_are_shortened() -> None:
    assert words(response(403, b"word " * 10**6)).startswith("word word")
    assert len(words(response(403, b"word " * 10**6))) == 200


def test_message_of_a_foreign_answer_hides_the_password_in_the_address() -> None:
    with pytest.raises(RefusedError, match=r"https://board\.example/api answered with status 413") as refused:
        checked(response(413, b"<title>Too large</title>"))
    assert "secret" not in str(refused.value)
    assert "allow request bodies of 12 bytes" in str(refused.value)
    assert (refused.value.problem.code, refused.value.final) == ("proxy.refused", True)


def test_answer_without_the_expected_members_is_foreign() -> None:
    good = response(200, b'{"id": "x", "rows": []}')
    assert members(good, {"id": str, "rows": list}) == {"id": "x", "rows": []}
    for expected in ({"id": int}, {"other": object}, {"id": str, "rows": dict}):
        with pytest.raises(UnreachableError, match="not the answer of an LDSBoard server"):
            members(good, expected)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7), (" 0 ", 0), ("9" * 400, MAX_RETRY_AFTER), ("", None), ("soon", None), ("-1", None), ("٣", None)],
)
def test_retry_after_in_seconds(value: str, seconds: float | None) -> None:
    encoded = [(b"Retry-After", value.encode())]
    assert retry_after(httpx.Response(429, headers=encoded)) == seconds


def test_retry_after_as_a_date() -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    past, soon = (format_datetime(now + timedelta(hours=hours), usegmt=True) for hours in (-1, 1))
    assert retry_after(response(429, Retry_After=past)) == 0
    assert 0 < (retry_after(response(429, Retry_After=soon)) or 0) <= 3600
    assert retry_after(response(429, Retry_After="Fri, 31 Dec 9999 23:59:59 GMT")) == MAX_RETRY_AFTER

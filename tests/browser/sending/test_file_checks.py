"""The form checks a chosen file before it sends the file."""

from __future__ import annotations

import io
import pickle
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from safetensors.numpy import save

from ldsboard.arrays.scores import check_shape
from ldsboard.formats.score_files import HEADER_LIMIT, read_header
from ldsboard.problems import ProblemError
from tests.app.service import npy
from tests.browser.sending.form import N_TRAIN, TARGETS, Board, choose_file, open_form

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.browser.conftest import Visitor


def _archive(scores: Any, how: Callable[..., None] = np.savez) -> bytes:
    buffer = io.BytesIO()
    how(buffer, scores)
    return buffer.getvalue()


WHOLE = np.zeros((N_TRAIN, TARGETS), np.float32)
REJECTED: dict[str, bytes] = {
    "another shape": npy(WHOLE[:, :5]),
    "one dimension": npy(WHOLE[:, 0]),
    "no columns": npy(WHOLE[:, :0]),
    "integers": npy(WHOLE.astype(np.int64)),
    "transposed and a row less": npy(WHOLE.T[1:].astype(">f8")),
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
    "a transposed archive and a row less": _archive(WHOLE.T[1:]),
    "cut safetensors": save({"scores": WHOLE})[:-1],
    "several safetensors": save(dict.fromkeys("abcde", WHOLE[:1])),
    "integer safetensors": save({"scores": WHOLE.astype(np.int32)}),
    "safetensors without JSON": (2).to_bytes(8, "little") + b"{:" + bytes(20),
}


def _library_problem(content: bytes) -> dict[str, str]:
    with pytest.raises(ProblemError) as raised:
        check_shape(read_header(content[:HEADER_LIMIT], len(content)).shape, N_TRAIN, TARGETS)
    problem = raised.value.problem
    return {"title": problem.title, "detail": problem.detail, "hint": problem.hint, "code": problem.code}


def _clear_rejections(visitor: Visitor) -> None:
    """Forget the console messages about 4xx responses, which the tests ask for; other errors stay."""
    visitor.errors[:] = [error for error in visitor.errors if not re.search(r"status of 4(13|22) ", error)]


def test_form_rejects_file_by_its_header_with_the_librarys_message(visitor: Visitor, calls: list[str]) -> None:
    page = open_form(visitor, calls)
    page.get_by_label("Method").fill("refused")
    alert = page.get_by_role("alert")
    for name, content in REJECTED.items():
        choose_file(page, content)
        alert.locator("[data-word=code]").filter(has_text=_library_problem(content)["code"]).wait_for()
        displayed = {word: alert.locator(f"[data-word={word}]").text_content() for word in _library_problem(content)}
        assert displayed == _library_problem(content), name
        page.get_by_role("button", name="Send").click()
        alert.wait_for()
    assert calls == []
    _clear_rejections(visitor)


def test_form_rejects_file_over_size_limit_with_the_servers_message(
    visitor: Visitor, board: Board, calls: list[str]
) -> None:
    content = npy(np.zeros((N_TRAIN, 400), np.float64))
    page = open_form(visitor, calls)
    choose_file(page, content)
    alert = page.get_by_role("alert")
    alert.wait_for()
    problem = board.service.submit(board.service.token("large"), "large", content).json()
    for word in ("title", "detail", "hint", "code"):
        assert alert.locator(f"[data-word={word}]").text_content() == problem[word]
    assert calls == []
    _clear_rejections(visitor)


def test_form_accepts_files_that_can_be_scored(visitor: Visitor, calls: list[str]) -> None:
    files = [
        npy(np.asfortranarray(WHOLE.astype("<f2"))),
        npy(WHOLE.astype(">f8")),
        _archive(WHOLE),
        save({"s": WHOLE}),
        _archive(WHOLE, np.savez_compressed),
        npy(WHOLE.T),
    ]
    page = open_form(visitor, calls)
    for index, content in enumerate(files):
        with page.expect_response("**/check?*") as check:
            choose_file(page, content, f"{index}.npy")
        assert check.value.url.endswith(f"/api/v1/benchmarks/large/check?size={len(content)}")
        assert check.value.json()["shape"] == [N_TRAIN, TARGETS]
        page.get_by_role("status").filter(has_text=f"{index}.npy").filter(has_text="it fits").wait_for()
        assert page.get_by_role("alert").is_hidden()

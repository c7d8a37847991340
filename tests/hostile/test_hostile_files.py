"""Over HTTP, the server rejects every file of the corpus with the expected code at the expected stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ldsboard.problems import PROBLEMS
from tests.hostile.cases import FILES

if TYPE_CHECKING:
    from tests.hostile.conftest import Board


def test_corpus_has_more_than_80_files() -> None:
    assert len(FILES) > 80


@pytest.mark.parametrize("name", FILES)
def test_server_rejects_hostile_file_with_its_code_at_its_stage(board: Board, name: str) -> None:
    case = FILES[name]
    before, unexpired = board.service.rows(), board.count_unexpired()
    response = board.send(case.make(), case.encoding)
    if case.stage in ("start", "body"):
        assert (response.status_code, response.json()["code"]) == (PROBLEMS[case.code].status, case.code), response.text
        assert board.service.rows() == before if case.stage == "start" else board.count_unexpired() == unexpired
        return
    assert response.status_code == 202, response.text
    view = board.service.wait_until_final(response.json()["id"])
    if case.stage == "content":
        assert (view["state"], view["error"]["code"]) == ("rejected", case.code)
    else:
        assert view["state"] == case.stage

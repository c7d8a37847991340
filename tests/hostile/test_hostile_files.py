"""Every file of the corpus gets its code at its stage, over HTTP, and harms nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.errors import STATUS
from tests.hostile.cases import FILES

if TYPE_CHECKING:
    from tests.hostile.conftest import Board


def test_the_corpus_is_large() -> None:
    assert len(FILES) > 80


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_gets_its_code_at_its_stage(board: Board, name: str) -> None:
    case = FILES[name]
    before, living = board.service.rows(), board.living()
    response = board.send(case.make(), case.encoding)
    if case.stage in ("start", "body"):
        assert (response.status_code, response.json()["code"]) == (STATUS[case.code], case.code), response.text
        assert board.service.rows() == before if case.stage == "start" else board.living() == living
        return
    assert response.status_code == 202, response.text
    view = board.service.settled(response.json()["id"])
    if case.stage == "content":
        assert (view["state"], view["error"]["code"]) == ("rejected", case.code)
    else:
        assert view["state"] == case.stage

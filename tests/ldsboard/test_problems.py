"""`Problem` and `ProblemError`: messages, JSON members and codes."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import ldsboard
from ldsboard import Problem, ProblemError
from ldsboard.problems import PROBLEMS


def test_message_of_a_problem_has_title_detail_and_hint() -> None:
    error = ProblemError("internal.full", "The server's disk is full.", "Try again later.")
    assert str(error) == "Insufficient storage. The server's disk is full. Try again later."
    assert isinstance(error, ValueError)


def test_detail_of_a_mismatch_names_what_was_expected_and_found() -> None:
    error = ProblemError.mismatch("scores.shape", expected="shape (3, 2)", got="shape (2, 2)", hint="Score all.")
    assert str(error) == "The scores have the wrong shape: expected shape (3, 2), got shape (2, 2). Score all."
    assert error.problem == Problem(
        "scores.shape", "Expected shape (3, 2), got shape (2, 2).", "Score all.", "shape (3, 2)", "shape (2, 2)"
    )


@pytest.mark.parametrize(
    "problem",
    [Problem("scores.dtype", "Wrong.", "Convert."), Problem("scores.dtype", "Wrong.", "Convert.", "float32", "int8")],
)
def test_problem_survives_its_json_members(problem: Problem) -> None:
    members = problem.as_dict()
    assert members["title"] == "The scores have an unsupported type"
    assert None not in members.values()
    assert Problem.from_dict(members | {"novel": "of a newer server"}) == problem
    assert ProblemError.of(problem).problem == problem


def test_problem_of_an_older_version_repeats_neither_title_nor_hint() -> None:
    stored = {
        "title": "The scores are not all finite",
        "detail": "The scores are not all finite: expected finite scores, got 1 NaN. Find the cause.",
        "code": "scores.nonfinite",
        "expected": "finite scores",
        "got": "1 NaN",
        "hint": "Find the cause.",
    }
    assert Problem.from_dict(stored).detail == "Expected finite scores, got 1 NaN."


@pytest.mark.parametrize("member", [{"code": ["a"]}, {"detail": None}, {"got": 1}])
def test_problem_object_with_other_members_than_strings_is_rejected(member: dict[str, object]) -> None:
    with pytest.raises(TypeError, match="problem object"):
        Problem.from_dict({"code": "scores.dtype", "detail": "Wrong.", "hint": "Convert."} | member)


def test_every_code_that_the_library_raises_has_a_title() -> None:
    codes = set()
    for path in Path(ldsboard.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if not isinstance(node, ast.Call):
                continue
            if getattr(node.func, "id", getattr(node.func, "attr", "")) in ("ProblemError", "mismatch"):
                texts = (part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant))
                codes |= {text for text in texts if isinstance(text, str)}
    assert len(codes) > 8
    assert codes <= set(PROBLEMS)


def test_unknown_problem_code_is_its_own_title() -> None:
    assert Problem("scores.novel", "a", "b", "Update.").title == "scores.novel"

"""The vocabulary of errors."""

from __future__ import annotations

import ast
from pathlib import Path

import ldsboard
from ldsboard import Problem, ProblemError
from ldsboard.problems import TITLES


def test_the_message_holds_title_expected_got_and_hint() -> None:
    error = ProblemError("scores.shape", expected="shape (3, 2)", got="shape (2, 2)", hint="Score every example.")
    assert str(error) == (
        "The scores have the wrong shape: expected shape (3, 2), got shape (2, 2). Score every example."
    )
    assert isinstance(error, ValueError)


def test_a_problem_survives_the_way_through_json_members() -> None:
    problem = Problem("scores.dtype", "float32", "complex64", "Convert.")
    members = problem.as_dict()
    assert members["title"] == "The scores have an unsupported type"
    assert members["detail"] == str(problem)
    assert Problem.from_dict(members) == problem
    assert ProblemError.of(problem).problem == problem


def test_every_code_that_the_library_raises_has_a_title() -> None:
    codes = set()
    for path in Path(ldsboard.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "ProblemError":
                texts = (part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant))
                codes |= {text for text in texts if isinstance(text, str)}
    assert len(codes) > 8
    assert codes <= set(TITLES)


def test_a_code_of_a_newer_server_is_its_own_title() -> None:
    assert Problem("scores.novel", "a", "b", "Update.").title == "scores.novel"

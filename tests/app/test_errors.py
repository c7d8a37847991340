"""docs/reference/errors.md lists exactly the error codes of the source. As a program, this module prints missing lines."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

from ldsboard.problems import PROBLEMS

ROOT = Path(__file__).resolve().parents[2]
LISTED = {
    cells[0].strip("`"): cells
    for line in (ROOT / "docs/reference/errors.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| `")
    for cells in [[cell.strip() for cell in line.strip("|").split(" | ")]]
}


def expected_cells(code: str) -> list[str]:
    """Return the cells of docs/reference/errors.md for a code: code, status and title."""
    return [f"`{code}`", str(PROBLEMS[code].status), PROBLEMS[code].title]


def raised_codes(path: Path) -> set[str]:
    """Return the error codes in the first arguments of the problem and error calls of a file."""
    codes = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and node.args:
            texts = (part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant))
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in ("Problem", "ProblemError", "mismatch", "__init__"):
                codes |= {text for text in texts if isinstance(text, str) and re.fullmatch(r"[a-z]+\.[a-z_]+", text)}
    return codes


def test_error_list_has_exactly_the_codes_with_status_and_title() -> None:
    assert set(LISTED) == set(PROBLEMS)
    for code, cells in LISTED.items():
        assert cells[:3] == expected_cells(code)


def test_error_list_explains_every_code() -> None:
    assert {code: len(cells) for code, cells in LISTED.items()} == dict.fromkeys(PROBLEMS, 4)
    assert all(len(cells[3].strip(" |")) > 10 for cells in LISTED.values())


def test_titles_cover_exactly_the_codes_that_the_source_raises() -> None:
    files = [*(ROOT / "ldsboard").rglob("*.py"), *(ROOT / "app").rglob("*.py")]
    assert set().union(*map(raised_codes, files)) == set(PROBLEMS)


if __name__ == "__main__":
    for code in PROBLEMS.keys() - LISTED.keys():
        sys.stdout.write(f"| {' | '.join(expected_cells(code))} |  |\n")

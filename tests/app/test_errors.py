"""The list of errors is the code's. Run as a program, this prints the lines that the list lacks."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

from app.errors import STATUS
from ldsboard.problems import TITLES

ROOT = Path(__file__).resolve().parents[2]
LISTED = {
    cells[0].strip("`"): cells
    for line in (ROOT / "docs/errors.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| `")
    for cells in [[cell.strip() for cell in line.strip("|").split(" | ")]]
}


def line_of(code: str) -> list[str]:
    """Return what the list must say of a code."""
    return [f"`{code}`", str(STATUS.get(code, "none")), TITLES[code]]


def codes_in(path: Path) -> set[str]:
    """Return the codes that are raised in a file: the texts that calls of problems and errors begin with."""
    codes = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and node.args:
            texts = (part.value for part in ast.walk(node.args[0]) if isinstance(part, ast.Constant))
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in ("Problem", "ProblemError", "__init__"):
                codes |= {text for text in texts if isinstance(text, str) and re.fullmatch(r"[a-z]+\.[a-z_]+", text)}
    return codes


def test_every_code_is_listed_with_its_status_and_title_and_nothing_else_is() -> None:
    assert set(LISTED) == set(TITLES)
    for code, cells in LISTED.items():
        assert cells[:3] == line_of(code)


def test_every_code_is_explained() -> None:
    assert {code: len(cells) for code, cells in LISTED.items()} == dict.fromkeys(TITLES, 4)
    assert all(len(cells[3].strip(" |")) > 10 for cells in LISTED.values())


def test_every_code_with_a_status_has_a_title() -> None:
    assert set(STATUS) <= set(TITLES)


def test_the_codes_that_there_are_are_those_that_are_raised() -> None:
    files = [*(ROOT / "ldsboard").rglob("*.py"), *(ROOT / "app").rglob("*.py")]
    assert set().union(*map(codes_in, files)) == set(TITLES)


if __name__ == "__main__":
    for code in TITLES.keys() - LISTED.keys():
        sys.stdout.write(f"| {' | '.join(line_of(code))} |  |\n")

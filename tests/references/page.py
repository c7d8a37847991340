"""Read the tables of the page that compares implementations."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/explanation/implementations.md"


def table(heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading of the page, without the row of headings."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1]
    lines = [line.strip("| ").split(" | ") for line in section.split("\n## ")[0].splitlines() if line.startswith("|")]
    return lines[2:]

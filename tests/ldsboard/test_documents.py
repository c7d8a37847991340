"""The examples in the guide to scoring give the numbers that the guide shows."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_examples_in_scoring_guide_give_their_numbers() -> None:
    text = (ROOT / "docs/explanation/scoring.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE))
    examples = doctest.DocTestParser().get_doctest(code, {}, "scoring.md", None, None)
    assert len(examples.examples) > 30
    found = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(examples)
    assert found == doctest.TestResults(failed=0, attempted=len(examples.examples))


def test_scoring_guide_names_existing_files_for_each_formula() -> None:
    text = (ROOT / "docs/explanation/scoring.md").read_text(encoding="utf-8")
    table = text.split("| formula |")[1].split("\n\n")[0]
    rows = [row.split("|")[1:-1] for row in table.splitlines()[2:]]
    assert len(rows) > 10
    for cells in rows:
        for folder, cell in zip(("ldsboard/core", "tests/ldsboard", "tests/statistics"), cells[1:], strict=True):
            names = re.findall(r"`(.+?)`", cell)
            assert [name for name in names if not (ROOT / folder / name).is_file()] == []
        assert "test_" in "".join(cells)
    assert set(re.findall(r"`(\w+\.py)`", "".join(cells[3] for cells in rows))) == {
        path.name for path in (ROOT / "tests/statistics").glob("test_*.py")
    }

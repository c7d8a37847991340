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

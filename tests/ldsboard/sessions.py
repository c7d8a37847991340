"""Python sessions in the pages of the documentation, run and compared with the output that the page shows.

As a program, ``python -m tests.ldsboard.sessions PAGE HEADING`` runs the session below one heading and below those before it.
"""

from __future__ import annotations

import doctest
import re
import sys
from pathlib import Path

DOCUMENTATION = Path(__file__).resolve().parents[2] / "docs"


def section(page: str, *headings: str) -> str:
    """Return the Python code blocks of a page below some headings of level 2, in the order of the page."""
    text = (DOCUMENTATION / page).read_text(encoding="utf-8")
    parts = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", text, flags=re.DOTALL | re.MULTILINE))
    chosen = "\n".join(parts[heading] for heading in headings)
    return "\n".join(re.findall(r"^```python\n(.*?)^```$", chosen, flags=re.DOTALL | re.MULTILINE))


def run_session(code: str, *, without: str = "") -> tuple[int, int]:
    """Run a session, and return the numbers of failed and of all examples; doctest prints the failed examples.

    Parameters
    ----------
    code
        The session, with prompts.
    without
        A word; examples whose source contains the word are left out.
    """
    session = doctest.DocTestParser().get_doctest(code, {}, "session", None, None)
    session.examples = [example for example in session.examples if not without or without not in example.source]
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    results = doctest.DocTestRunner(optionflags=options).run(session)
    return results.failed, results.attempted


if __name__ == "__main__":
    failed, attempted = run_session(section(*sys.argv[1:]))
    sys.stdout.write(f"{attempted} examples, {failed} failed\n")
    raise SystemExit(failed > 0 or attempted == 0)

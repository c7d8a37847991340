"""The examples of the Python guide that need no server. Lines that import or call dattri run only in tests/references."""

from __future__ import annotations

import re
import subprocess
import sys

from tests.ldsboard.sessions import DOCUMENTATION, run_session, section

PAGE = "how-to/use-from-python.md"
SCORE, DATTRI = "Score an array", "Use the arguments of dattri's metric"


def test_import_of_library_does_not_import_the_http_client() -> None:
    """Most sessions only score, and the HTTP client takes as long to import as the rest of the library."""
    program = "import sys, ldsboard; print({'httpx', 'tenacity', 'torch', 'typer'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "set()"


def test_pages_install_the_library_from_a_source() -> None:
    """The name alone names nothing that is published."""
    for path in (DOCUMENTATION.parent / "README.md", *DOCUMENTATION.glob("*/*.md")):
        assert not re.search(r"pip install [\"']?ldsboard\b(?! @)", path.read_text(encoding="utf-8")), path.name


def test_session_on_own_ground_truth_shows_its_output() -> None:
    assert run_session(section(PAGE, SCORE)) == (0, 12)


def test_session_with_dattris_arguments_shows_its_output() -> None:
    failed, attempted = run_session(section(PAGE, SCORE, DATTRI), without="dattri")
    assert failed == 0
    assert attempted == 12 + 17

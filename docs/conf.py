"""Configuration of the documentation: `make docs` builds it into docs/_build.

The pages in docs/reference/generated are written here from the source: the command lines from typer, the settings from pydantic.
"""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
GENERATED = Path(__file__).parent / "reference" / "generated"
sys.path.insert(0, str(ROOT))  # app and worker are not installed

project = "LDSBoard"
author = "The LDSBoard developers"
version = release = metadata.version("ldsboard")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "LDSBoard"
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence", "dollarmath"]
napoleon_google_docstring = False
autodoc_member_order = "bysource"
autodoc_typehints = "description"

COMMANDS = {
    "ldsboard": ("ldsboard.cli", "ldsboard"),
    "server": ("app.__main__", "python -m app"),
    "worker": ("worker.__main__", "python -m worker"),
}


def _write(name: str, text: str) -> None:
    """Write a generated page, unless it is up to date: Sphinx reads changed files again."""
    path = GENERATED / name
    path.parent.mkdir(exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def _command_line(module: str, program: str) -> str:
    command = [sys.executable, "-m", "typer", module, "utils", "docs", "--name", program]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def _settings() -> str:
    from app.logs import LogSettings  # noqa: PLC0415 -- needs sys.path above
    from app.settings import Settings  # noqa: PLC0415 -- likewise

    rows = []
    for name, field in (Settings.model_fields | LogSettings.model_fields).items():
        default = getattr(field.default, "get_secret_value", lambda field=field: field.default)()
        meaning = " ".join((field.description or "").split())  # a row of a table is one line
        variable = field.validation_alias or f"LDSBOARD_{name.upper()}"
        rows.append(f"| `{variable}` | `{default}` | {meaning} |")
    return "\n".join(
        [
            "# Settings of the server",
            "",
            "Environment variables that `python -m app …` reads. Unknown names that begin with `LDSBOARD_` are ignored.",
            "",
            "| variable | default | meaning |",
            "|---|---|---|",
            *(row.replace("| `` |", "| (empty) |") for row in rows),
            "",
        ]
    )


def _fill_errors(_app: Sphinx, docname: str, source: list[str]) -> None:
    """Take status and title of each code in the list of errors from the registry."""
    from ldsboard.problems import PROBLEMS  # noqa: PLC0415 -- needs sys.path above

    if docname != "reference/errors":
        return

    def row(match: re.Match[str]) -> str:
        kind = PROBLEMS[match[1]]
        return f"| `{match[1]}` | {kind.status} | {kind.title} |"

    source[0] = re.sub(r"^\| `([a-z]+\.[a-z_]+)` \| [^|]*\| [^|]*\|", row, source[0], flags=re.MULTILINE)


def setup(app: Sphinx) -> dict[str, Any]:
    """Write the generated pages and register the list of errors."""
    for name, (module, program) in COMMANDS.items():
        _write(f"{name}.md", _command_line(module, program))
    _write("settings.md", _settings())
    app.connect("source-read", _fill_errors)
    return {"parallel_read_safe": True}

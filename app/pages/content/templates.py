"""Render the templates of pages. All templates can use the same filters and global names.

Pages pass submissions and boards to a template as response models, not as database rows, because a response model leaves out what
the visitor may not see.
"""

from __future__ import annotations

from functools import cache
from inspect import getmembers, isfunction
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from app.pages import static_files
from app.pages.content import ci_providers, formatting, origins
from ldsboard.core.replicates import FEWEST_REPLICATES, FILES_ONLY
from ldsboard.core.result import FEW_TARGETS, WARNINGS
from ldsboard.core.significance import FEW_SUBSETS


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parents[1] / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for filters in (ci_providers, formatting, origins):
        environment.filters.update(getmembers(filters, isfunction))
    environment.globals.update(
        script=static_files.script,
        stylesheet=static_files.stylesheet,
        static=static_files.url,
        state_texts=formatting.STATES,
        visible_to=formatting.VISIBLE_TO,
        warning_texts=WARNINGS,
        few_subsets=FEW_SUBSETS,
        few_targets=FEW_TARGETS,
        fewest_replicates=FEWEST_REPLICATES,
        files_only=FILES_ONLY,
    )
    return environment


def render(template: str, **values: Any) -> str:
    """Return the text of a template filled with `values`; texts in `values` are HTML-escaped.

    Raises
    ------
    jinja2.UndefinedError
        The template uses a value that is missing.
    """
    return _environment().get_template(template).render(values)

"""Templates, and what all of them know. They are given views and plain values, never rows of the database."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from app.pages import assets, words
from ldsboard.result import WARNINGS


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(words.FILTERS)
    environment.globals.update(
        script=assets.script,
        stylesheet=assets.stylesheet,
        static=assets.url,
        states=words.STATES,
        seen_by=words.SEEN_BY,
        warnings_in_words=WARNINGS,
    )
    return environment


def render(template: str, **values: Any) -> str:
    """Return a page; every text in `values` is escaped."""
    return _environment().get_template(template).render(values)

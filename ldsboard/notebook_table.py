"""A small HTML table for results that a notebook displays."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def notebook_table(caption: str, rows: Iterable[tuple[str, str]]) -> str:
    """Return an HTML table with a caption and two columns, names and values.

    All texts are escaped. The table has no style, class or id, so that the notebook's own style applies.
    """
    cells = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in rows)
    return f"<table><caption>{escape(caption)}</caption><tbody>{cells}</tbody></table>"

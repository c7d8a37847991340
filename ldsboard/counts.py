"""Numbers with their nouns, for messages."""

from __future__ import annotations


def count(value: int, singular: str, plural: str = "") -> str:
    """Format a number with its noun in the singular or plural, such as ``1 run`` and ``1,200 runs``."""
    return f"{value:,} {singular if value == 1 else plural or singular + 's'}"

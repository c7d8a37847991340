"""Secrets of which several count at the same time, so that the operator can replace them."""

from __future__ import annotations

import re

MIN_KEY_LENGTH = 32
"""Minimum length of the key that signs cookies, and of the token for `/metrics`, in characters."""


def split_keys(value: str) -> list[str]:
    """Return the keys in a text: the one in use first, the others behind commas or on lines of their own."""
    return [key.strip() for key in re.split(r"[,\n]", value) if key.strip()]


def check_keys(value: str, name: str) -> None:
    """Check the length of all keys in the value of a setting.

    Raises
    ------
    ValueError
        A key has fewer than `MIN_KEY_LENGTH` characters.
    """
    for key in split_keys(value):
        if len(key) < MIN_KEY_LENGTH:
            raise ValueError(f"{name} needs at least {MIN_KEY_LENGTH} random characters, but has {len(key)}.")

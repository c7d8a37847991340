"""The order in which a program asks the system to keep files, and to name them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def watched(monkeypatch: pytest.MonkeyPatch, *names: str) -> list[str]:
    """Return the names of the calls of `os` among these, as they are made from now on; each is made all the same."""
    done: list[str] = []

    def watch(name: str) -> None:
        real = getattr(os, name)

        def call(*arguments: object) -> None:
            done.append(name)
            real(*arguments)

        monkeypatch.setattr(os, name, call)

    for name in names:
        watch(name)
    return done

"""Locks of files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ldsboard.locks import lock

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_lock_is_free_after_its_block_though_a_process_that_is_being_started_has_the_file_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = []
    opened = os.open

    def open_twice(*arguments: object) -> int:
        descriptor = opened(*arguments)  # type: ignore[arg-type]
        copies.append(os.dup(descriptor))  # as a forked process has it, until it executes its program
        return descriptor

    monkeypatch.setattr(os, "open", open_twice)
    with lock(tmp_path / "lock") as held, lock(tmp_path / "lock") as held_twice:
        assert (held, held_twice) == (True, False)
    with lock(tmp_path / "lock") as held_again:
        assert held_again
    for copy in copies:
        os.close(copy)

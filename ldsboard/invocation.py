"""How to start the programs of this environment, for commands that are printed to be pasted."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path


def program(name: str) -> str:
    """Return what starts a program of this environment, such as ``python`` or ``ldsboard``, from the current folder.

    This is the name alone if the shell finds this program or if the environment has none, and otherwise the path of the program.
    """
    path, found = Path(sys.executable).absolute().with_name(name), shutil.which(name)
    if not path.exists() or (found and Path(found).absolute() == path):
        return name
    return shlex.quote(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path))

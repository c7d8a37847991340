"""Load a recipe from its file, such as the ``recipe.py`` of a kit."""

from __future__ import annotations

import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from pathlib import Path
    from types import ModuleType

    from ldsboard.retraining.recipe import Recipe


class _LoaderWithoutCache(SourceFileLoader):
    """Loads a Python file without writing a .pyc file, so that kits and users' folders stay unchanged."""

    def set_data(self, path: str, data: object, *, _mode: int = 0o666) -> None:
        """Write nothing."""


def load_module(path: Path, name: str) -> ModuleType:
    """Run the recipe file of a user or of a kit; return the module, which `sys.modules` then also has under `name`."""
    spec = cast("ModuleSpec", spec_from_file_location(name, path, loader=_LoaderWithoutCache(name, str(path))))
    module = sys.modules[name] = module_from_spec(spec)  # dataclasses need this entry while the module defines them
    cast("SourceFileLoader", spec.loader).exec_module(module)
    return module


def load_recipe(path: Path) -> Recipe:
    """Run the ``recipe.py`` of a kit; return the recipe."""
    return cast("Recipe", load_module(path, "ldsboard_kit_recipe"))

"""Recipes: one file each says everything about how a benchmark's models are made, and ships in its kit as ``recipe.py``."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, cast

from worker.plan import ConfigurationError

if TYPE_CHECKING:
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec

    from worker.models import Recipe


def names() -> list[str]:
    """Return the names of all recipes, such as ``digits-mlp`` for the file ``digits_mlp.py``."""
    return [module.name.replace("_", "-") for module in iter_modules(__path__)]


def load(name: str) -> Recipe:
    """Return a recipe by its name, or one's own by the path of its file, which this runs.

    Raises
    ------
    ConfigurationError
        There is none of that name, or no such file.
    """
    if name.endswith(".py"):
        return _from_file(Path(name))
    if name not in names():
        raise ConfigurationError(
            f"expected one of the recipes {', '.join(names())}, or a path that ends in .py, got {name!r}"
        )
    return cast("Recipe", import_module(f"{__name__}.{name.replace('-', '_')}"))


def _from_file(path: Path) -> Recipe:
    if not path.is_file():
        raise ConfigurationError(f"expected a recipe at {path.resolve()}, got no such file")
    name = f"{__name__}.own.{path.stem}"
    spec = cast("ModuleSpec", spec_from_file_location(name, path))
    module = sys.modules[name] = module_from_spec(spec)  # dataclasses look up their module while they are defined
    cast("Loader", spec.loader).exec_module(module)
    return cast("Recipe", module)

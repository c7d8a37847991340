"""Recipes: each file defines completely how the models of a benchmark are trained, and ships in the kit as ``recipe.py``."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, cast

from ldsboard.retraining.recipe import Recipe, Settings
from ldsboard.retraining.recipe_file import load_module
from worker.plan import ConfigurationError

if TYPE_CHECKING:
    from types import ModuleType

NAME = r"(?=.{1,64}$)[a-z0-9]+(-[a-z0-9]+)*"
"""Pattern of benchmark names that the server accepts."""


def names() -> list[str]:
    """Return the names of all recipes, such as ``digits-mlp`` for the file ``digits_mlp.py``."""
    return [module.name.replace("_", "-") for module in iter_modules(__path__)]


def load(name: str) -> Recipe:
    """Return the module of a recipe. The argument is the name of a recipe of this package, or a path that ends in ``.py``.

    Raises
    ------
    ConfigurationError
        The name is unknown, the file does not exist, the file lacks members of a recipe, or the file's ``NAME`` is invalid.
    """
    if name.endswith(".py"):
        return _load_file(Path(name))
    if name not in names():
        raise ConfigurationError(
            f"expected one of the recipes {', '.join(names())}, or a path that ends in .py, got {name!r}"
        )
    return cast("Recipe", import_module(f"{__name__}.{name.replace('-', '_')}"))


def _load_file(path: Path) -> Recipe:
    if not path.is_file():
        raise ConfigurationError(f"The recipe file {path.resolve()} does not exist.")
    module = load_module(path, f"{__name__}.own.{path.stem}")
    _check_complete(module, path)
    return cast("Recipe", module)


def _check_complete(module: ModuleType, path: Path) -> None:
    """Raise ConfigurationError if a recipe lacks members or has an invalid ``NAME``.

    Without this check, a missing member could stop a training after hours.
    """
    missing = _missing_members(module, Recipe)
    missing += [f"SETTINGS.{name}" for name in _missing_members(getattr(module, "SETTINGS", None), Settings)]
    if missing:
        raise ConfigurationError(
            f"The recipe {path} lacks {', '.join(missing)}. See the example in docs/how-to/write-a-recipe.md."
        )
    if not re.fullmatch(NAME, module.NAME):
        raise ConfigurationError(
            f"NAME in {path} may only have lower-case letters, digits and single hyphens, as flowers-net: got {module.NAME!r}"
        )


def _missing_members(thing: object, protocol: type) -> list[str]:
    return [name for name in vars(protocol) if not name.startswith("_") and not hasattr(thing, name)]

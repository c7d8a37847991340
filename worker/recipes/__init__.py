"""Recipes: one file each says everything about how a benchmark's models are made, and ships in its kit as ``recipe.py``."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, cast

from worker.plan import ConfigurationError

if TYPE_CHECKING:
    from worker.models import Recipe


def names() -> list[str]:
    """Return the names of all recipes, such as ``digits-mlp`` for the file ``digits_mlp.py``."""
    return [module.name.replace("_", "-") for module in iter_modules(__path__)]


def load(name: str) -> Recipe:
    """Return a recipe by its name.

    Raises
    ------
    ConfigurationError
        There is none of that name.
    """
    if name not in names():
        raise ConfigurationError(f"expected one of the recipes {', '.join(names())}, got {name!r}")
    return cast("Recipe", import_module(f"{__name__}.{name.replace('-', '_')}"))

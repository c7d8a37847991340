"""Recipes: one file each says everything about how a benchmark's models are made, and ships in its kit as ``recipe.py``."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, cast

from worker.models import Recipe, Settings
from worker.plan import ConfigurationError

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType

NAME = r"(?=.{1,64}$)[a-z0-9]+(-[a-z0-9]+)*"
"""What a server takes for the name of a benchmark."""


def names() -> list[str]:
    """Return the names of all recipes, such as ``digits-mlp`` for the file ``digits_mlp.py``."""
    return [module.name.replace("_", "-") for module in iter_modules(__path__)]


def load(name: str) -> Recipe:
    """Return a recipe by its name, or one's own by the path of its file, which this runs.

    Raises
    ------
    ConfigurationError
        There is none of that name, or no such file, or it lacks what a recipe has.
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
    module = run(path, f"{__name__}.own.{path.stem}")
    _expect_whole(module, path)
    return cast("Recipe", module)


class _Loader(SourceFileLoader):
    """Loads a file and leaves no compiled one beside it: a kit, and a folder of one's own, stay as they are."""

    def set_data(self, path: str, data: object, *, _mode: int = 0o666) -> None:
        """Keep nothing."""


def run(path: Path, name: str) -> ModuleType:
    """Run the file of a recipe, or of a kit, and return it as a module of this name."""
    spec = cast("ModuleSpec", spec_from_file_location(name, path, loader=_Loader(name, str(path))))
    module = sys.modules[name] = module_from_spec(spec)  # dataclasses look up their module while they are defined
    cast("SourceFileLoader", spec.loader).exec_module(module)
    return module


def _expect_whole(module: ModuleType, path: Path) -> None:
    """Refuse a file without what is asked for after hours of training, if not before."""
    lacking = _lacking(module, Recipe)
    lacking += [f"SETTINGS.{name}" for name in _lacking(getattr(module, "SETTINGS", None), Settings)]
    if lacking:
        raise ConfigurationError(
            f"expected a recipe with {', '.join(lacking)} in {path}, got none. docs/recipes.md has an example."
        )
    if not re.fullmatch(NAME, module.NAME):
        raise ConfigurationError(
            f"expected a NAME of small letters, digits and single hyphens in {path}, such as flowers-net, got {module.NAME!r}"
        )


def _lacking(thing: object, protocol: type) -> list[str]:
    return [name for name in vars(protocol) if not name.startswith("_") and not hasattr(thing, name)]

"""What an installed distribution requires, and links to its files, so that tests make environments without a network."""

from __future__ import annotations

from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def required(start: Distribution) -> dict[str, Distribution]:
    """Return every installed distribution that a distribution requires, directly or not, by normalized name."""
    found: dict[str, Distribution] = {}
    waiting = [(start, "")]
    visited = set()
    while waiting:
        here, extra = waiting.pop()
        for requirement in map(Requirement, here.requires or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                name = canonicalize_name(requirement.name)
                found[name] = distribution(name)
                assert found[name].version in requirement.specifier, requirement
                for wanted in {"", *requirement.extras}:
                    if (name, wanted) not in visited:
                        visited.add((name, wanted))
                        waiting.append((found[name], wanted))
    return found


def link(source: Distribution, site: Path) -> None:
    """Link the files of a distribution, except its commands, into another folder of packages."""
    for file in source.files or ():
        if ".." not in file.parts and "__pycache__" not in file.parts:
            target = site / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(Path(str(source.locate_file(file))).resolve())

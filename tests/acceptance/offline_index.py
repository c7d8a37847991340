"""A folder of wheels from which pip installs ldsboard without a network.

The wheels have the names, versions and requirements of the distributions that are installed here, so that pip resolves them as it
does with a package index. Instead of its files, each wheel holds the path of a folder with links to the installed files.
"""

from __future__ import annotations

import zipfile
from importlib.metadata import distribution
from typing import TYPE_CHECKING

from tests.client.distributions import link, required

if TYPE_CHECKING:
    from importlib.metadata import Distribution
    from pathlib import Path


def write_index(folder: Path) -> Path:
    """Write wheels for all that ldsboard needs, and for the program that builds ldsboard; return the folder of the wheels."""
    index, site = folder / "wheels", folder / "site"
    index.mkdir(parents=True)
    for needed in required(distribution("ldsboard")).values():
        link(needed, site)
        _write_wheel(needed, index, site)
    builder, builder_site = distribution("setuptools"), folder / "builder"
    link(builder, builder_site)
    _write_wheel(builder, index, builder_site)
    return index


def _write_wheel(source: Distribution, index: Path, site: Path) -> None:
    name = source.metadata["Name"].replace("-", "_").replace(".", "_")
    info = f"{name}-{source.version}.dist-info"
    files = {
        f"{name}-links.pth": f"{site}\n",
        f"{info}/METADATA": source.read_text("METADATA") or "",
        f"{info}/entry_points.txt": source.read_text("entry_points.txt") or "",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(index / f"{name}-{source.version}-py3-none-any.whl", "w") as wheel:
        for path, text in (files | {f"{info}/RECORD": record}).items():
            wheel.writestr(path, text)

"""The built wheel in an environment of its own, which has only the distributions that the wheel requires.

Tests have no network. The environment therefore gets links to the files of the required distributions that are installed here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.utils import canonicalize_name

from tests.client.distributions import link, required

if TYPE_CHECKING:
    from tests.app.service import Service

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")]

ROOT = Path(__file__).resolve().parents[2]
MOST_DISTRIBUTIONS = 26
"""Largest number of distributions beside ldsboard, numpy and scipy."""

NEVER = {"fastapi", "starlette", "uvicorn", "sqlalchemy", "alembic", "jinja2", "torch", "setuptools", "pip"}


def run(*command: str | Path, **environment: str) -> str:
    """Run a command outside the checkout, and return its standard output; fail with its output if it fails."""
    inherited = {name: os.environ[name] for name in ("HOME", "LANG", "PATH", "TMPDIR") if name in os.environ}
    done = subprocess.run(
        list(map(str, command)), cwd="/", env=inherited | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the packages, so that the checkout stays as it is."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for package in ("ldsboard", "app", "worker"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "static"))
    build = ("wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder / "dist", folder)
    run(sys.executable, "-m", "pip", *build)
    (built,) = (folder / "dist").iterdir()
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and what the wheel requires, and nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    pip = (sys.executable, "-m", "pip", "--python", folder / "bin" / "python")
    run(*pip, "install", "--no-deps", "--no-index", wheel)
    (site,) = (folder / "lib").glob("python*/site-packages")
    (installed,) = distributions(name="ldsboard", path=[str(site)])
    for needed in required(installed).values():
        link(needed, site)
    run(*pip, "check")
    return folder


def test_wheel_holds_only_the_library(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
        assert "ldsboard/py.typed" in archive.namelist()
    assert {top.partition("-")[0] for top in tops} == {"ldsboard"}


def test_environment_has_few_distributions_and_no_server(environment: Path) -> None:
    (site,) = (environment / "lib").glob("python*/site-packages")
    names = {canonicalize_name(found.metadata["Name"]) for found in distributions(path=[str(site)])}
    assert {"ldsboard", "numpy", "scipy"} <= names
    assert len(names - {"ldsboard", "numpy", "scipy"}) <= MOST_DISTRIBUTIONS, sorted(names)
    assert not names & NEVER
    absent = (
        "import importlib.util as i; print([n for n in ('app', 'worker', 'torch', 'fastapi', 'pip') if i.find_spec(n)])"
    )
    assert run(environment / "bin" / "python", "-c", absent).strip() == "[]"


def test_commands_and_python_work_from_there(environment: Path, service: Service, scores: Path, tmp_path: Path) -> None:
    variables = {
        "LDSBOARD_SERVER": service.url,
        "LDSBOARD_TOKEN": service.token("wheel", ranked_per_day=10, ranked_per_version=10),
        "LDSBOARD_CACHE": str(tmp_path / "cache"),
        "HOME": str(tmp_path),
    }
    command = environment / "bin" / "ldsboard"
    submitted = json.loads(run(command, "submit", scores, "toy", "--method", "wheel", "--json", **variables))
    assert submitted["state"] == "scored"
    run(command, "pull", "toy", **variables)
    offline = json.loads(run(command, "score", scores, "toy", "--json", **variables))
    assert offline["lds"] == submitted["public"]["lds"]
    assert submitted["id"] in run(command, "leaderboard", "toy", "--json", **variables)
    session = (
        f"import ldsboard, numpy; s = numpy.load({str(scores)!r}); "
        "print(ldsboard.submit(s, benchmark='toy', method='wheel').id, ldsboard.GroundTruth.from_pulled('toy').score(s).lds)"
    )
    assert run(environment / "bin" / "python", "-c", session, **variables).split() == [
        submitted["id"],
        str(offline["lds"]),
    ]

"""The source distribution, installed with and without a C compiler: the kernel is in the wheel, or the wheel is pure."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ldsboard.core.kernel import LIBRARY, ROUTE_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    Build = Callable[..., Path]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="CC selects no compiler on Windows")]

ROOT = Path(__file__).resolve().parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
CHOICES = {"CC", "CFLAGS", "LDFLAGS", "LDSBOARD_REQUIRE_KERNEL", ROUTE_VARIABLE}
"""Environment variables of this machine that would choose the compiler or the route."""

COMPILED = shutil.which("cc") is not None
"""Whether this machine has a compiler. Without one, every installation is like that with ``CC=false``."""

SCORE = (
    "import ldsboard, numpy; from ldsboard.core.kernel import choose_route; r = numpy.random.default_rng(0); "
    "s = r.normal(size=(90, 3)); m = r.random((80, 90)) < 0.5; ldsboard.show_config(); "
    "print(choose_route().name, ldsboard.lds(s, m, m @ s + r.normal(size=(80, 3))).lds.hex(), ldsboard.__file__)"
)


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command without this machine's choice of a compiler or route; return its output, or fail with this output."""
    inherited = {name: value for name, value in os.environ.items() if name not in CHOICES}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=inherited | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The folder of an unpacked source distribution, made from a checkout with a leftover library."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    shutil.copytree(ROOT / "ldsboard", checkout / "ldsboard", ignore=shutil.ignore_patterns("__pycache__"))
    (checkout / "ldsboard" / "core" / LIBRARY.name).write_text("left over")
    backend = "from setuptools import build_meta; print(build_meta.build_sdist('dist'))"
    name = run(sys.executable, "-c", backend, cwd=checkout).split()[-1]
    run("tar", "--extract", "--gzip", "--file", checkout / "dist" / name, cwd=tmp_path)
    return tmp_path / name.removesuffix(".tar.gz")


@pytest.fixture
def build(source: Path, tmp_path: Path) -> Build:
    """Return a function that builds a wheel from the unpacked source distribution."""

    def wheel(name: str, **environment: str) -> Path:
        options = ("--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", tmp_path / name)
        run(sys.executable, "-m", "pip", "wheel", *options, source, cwd=tmp_path, **environment)
        (built,) = (tmp_path / name).iterdir()
        return built

    return wheel


def libraries(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return [name for name in archive.namelist() if "_sums" in name]


def test_wheel_holds_the_kernel_or_is_pure_and_both_give_the_same_bits(build: Build, tmp_path: Path) -> None:
    answers = {}
    for name, environment in (("compiled", {}), ("pure", {"CC": "false"}), ("missing", {"CC": "/nonexistent/cc"})):
        built = build(name, **environment)
        kernel = COMPILED and name == "compiled"
        assert libraries(built) == [f"ldsboard/core/{LIBRARY.name}"] * kernel
        assert built.name.startswith(f"ldsboard-{VERSION}-py3-none-")
        assert built.name.endswith("-any.whl") is not kernel
        with zipfile.ZipFile(built) as archive:
            archive.extractall(tmp_path / f"{name} site")
        said = run(sys.executable, "-c", SCORE, cwd=tmp_path, PYTHONPATH=str(tmp_path / f"{name} site"))
        line, answer = said.splitlines()
        route, answers[name], path = answer.split(maxsplit=2)
        assert path.startswith(str(tmp_path / f"{name} site"))
        assert (route != "blas") is kernel
        assert ("the compiled kernel" if kernel else "BLAS, because ldsboard was installed without a") in line
    assert len(set(answers.values())) == 1


def test_leftover_build_slips_no_old_library_in(build: Build, source: Path) -> None:
    first = build("first")
    leftover = [path for path in (source / "build").rglob("*") if path.name == LIBRARY.name]
    assert len(leftover) == len(libraries(first)) == COMPILED
    (source / "ldsboard" / "core" / LIBRARY.name).write_text("in place")
    for path in leftover:
        path.write_text("old")
    pure = build("pure", CC="false")
    assert libraries(pure) == []
    assert pure.name.endswith("-py3-none-any.whl")
    for path in leftover:
        path.write_text("old")
        os.utime(path, (2**32, 2**32))  # newer than its source
    with zipfile.ZipFile(build("again")) as archive:
        assert all(archive.read(name) != b"old" for name in libraries(Path(archive.filename or "")))


def test_editable_installation_deletes_an_old_library(source: Path) -> None:
    old = source / "ldsboard" / "core" / LIBRARY.name
    old.write_text("old")
    run(sys.executable, "setup.py", "build_ext", "--inplace", cwd=source, CC="false")
    assert not old.exists()
    run(sys.executable, "setup.py", "build_ext", "--inplace", cwd=source)
    assert old.exists() is COMPILED


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("1", "The kernel was not compiled, and LDSBOARD_REQUIRE_KERNEL=1 requires it."),
        ("true", "LDSBOARD_REQUIRE_KERNEL: expected 0 or 1, got 'true'."),
    ],
)
def test_release_fails_without_the_kernel(value: str, message: str, source: Path) -> None:
    command = [sys.executable, "setup.py", "bdist_wheel"]
    environment = os.environ | {"CC": "false", "LDSBOARD_REQUIRE_KERNEL": value}
    done = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert message in done.stderr


@pytest.mark.parametrize("mode", ["lenient", "strict"])
def test_editable_installation_needs_no_compiler(mode: str, source: Path, tmp_path: Path) -> None:
    options = ("--no-deps", "--no-index", "--no-build-isolation", "--config-settings", f"editable_mode={mode}")
    run(
        sys.executable,
        "-m",
        "pip",
        "install",
        *options,
        "--target",
        tmp_path / "site",
        "-e",
        source,
        cwd=tmp_path,
        CC="false",
    )
    assert not list(source.rglob(LIBRARY.name))


@pytest.mark.parametrize("flags", ["-Ofast", "-ffast-math", "-funsafe-math-optimizations"])
def test_options_of_the_user_do_not_change_arithmetic(flags: str, source: Path) -> None:
    run(sys.executable, "setup.py", "build_ext", "--inplace", cwd=source, CFLAGS=flags)
    code = "import numpy; from ldsboard.core.kernel import choose_route; choose_route(); print(numpy.array([5e-324])[0] * 1.0)"
    assert run(sys.executable, "-c", code, cwd=source, PYTHONPATH=str(source)) == "5e-324\n"


@pytest.mark.parametrize("image", ["server", "worker"])
def test_image_uses_the_kernel(image: str, source: Path, tmp_path: Path) -> None:
    commands = re.sub(r"\\\n", "", (ROOT / "docker" / f"{image}.Dockerfile").read_text()).split("&&")
    install, remove, check = (
        next(command.strip() for command in commands if command.strip().startswith(start))
        for start in ("LDSBOARD_REQUIRE_KERNEL", "rm -r ldsboard", "python -c")
    )
    shutil.copy(ROOT / "constraints.txt", source)
    site = tmp_path / "site"
    if not COMPILED:
        install = install.replace("LDSBOARD_REQUIRE_KERNEL=1", "")
    steps = [install.replace(" .", f" --no-deps --target '{site}' ."), remove, *[check] * COMPILED]
    shell = " && ".join(steps).replace("python ", f"'{sys.executable}' ")
    run("/bin/sh", "-c", shell, cwd=source, PYTHONPATH=str(site))

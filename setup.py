"""Build the optional compiled kernel of the library, the C files in ``ldsboard/core``; everything else is in pyproject.toml.

The kernel is a plain C library without Python.h. Where it cannot be compiled, the library is installed without it, computes with
BLAS, and says so in ``ldsboard.show_config()``. With ``LDSBOARD_REQUIRE_KERNEL=1``, as in the release workflow, this is an error.
"""

import os
import zlib
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError

FOLDER = "ldsboard/core"
SOURCES = [f"{FOLDER}/{name}" for name in ("grid.c", "ranks.c", "sums.c")]
HEADER = f"{FOLDER}/kernel.h"
LIBRARY = "_sums.dll" if os.name == "nt" else "_sums.so"
FLAGS = ["-O3", "-std=c11", "-fvisibility=hidden", "-fno-fast-math", "-ffp-contract=off", "-fno-math-errno"]
LINK_FLAGS = ["-O3", "-fno-fast-math", "-fno-unsafe-math-optimizations"]
"""With -Ofast or -ffast-math in CFLAGS, gcc before version 13 would link code that makes every thread flush subnormal numbers."""

MSVC_FLAGS = ["/O2", "/std:c11", "/fp:precise"]  # MSVC knows `restrict` only in C11


def source_hash(*paths: str) -> int:
    """Return a checksum of the text of all files, as `ldsboard.core.kernel` computes it."""
    return zlib.crc32(b"".join(Path(path).read_bytes() for path in paths))


class BuildKernel(build_ext):
    """Compile the kernel anew, and continue without it if that fails."""

    def get_ext_filename(self, fullname: str) -> str:
        """Return the path of the library, which is the same for every version of Python."""
        return str(Path(*fullname.split(".")[:-1]) / LIBRARY)

    def get_export_symbols(self, ext: Extension) -> list[str]:
        """Return the symbols that MSVC exports in addition to those marked in the source: none, where others want PyInit."""
        return ext.export_symbols

    def get_libraries(self, ext: Extension) -> list[str]:
        """Return the libraries to link: not that of Python."""
        return ext.libraries

    def build_extensions(self) -> None:
        """Compile with the options of the compiler, which is known only now: on Windows, MSVC or MinGW."""
        is_msvc = self.compiler.compiler_type == "msvc"
        for ext in self.extensions:
            ext.extra_compile_args = MSVC_FLAGS if is_msvc else FLAGS
            ext.extra_link_args = [] if is_msvc else LINK_FLAGS
            ext.libraries = [] if is_msvc else ["m"]
        super().build_extensions()

    def get_outputs(self) -> list[str]:
        """Return the path of the library, unless it could not be compiled."""
        return [path for path in super().get_outputs() if Path(path).exists()]

    def get_output_mapping(self) -> dict[str, str]:
        """Return the path of the library in the project, by its path in the build, unless it could not be compiled."""
        return {built: path for built, path in super().get_output_mapping().items() if Path(path).exists()}

    def run(self) -> None:
        """Delete the library of any earlier build, compile, and check the result."""
        required = os.environ.get("LDSBOARD_REQUIRE_KERNEL") or "0"
        if required not in {"0", "1"}:
            raise SystemExit(f"LDSBOARD_REQUIRE_KERNEL: expected 0 or 1, got {required!r}.")
        self.force = True
        built = Path(self.build_lib) / self.get_ext_filename(self.extensions[0].name)
        for old in (built, Path(FOLDER, LIBRARY)) if self.inplace else (built,):
            old.unlink(missing_ok=True)
        try:
            super().run()
        except (BaseError, OSError) as error:
            self.warn(f"the compiler cannot be used: {error}")
        if not built.exists():
            if required == "1":
                raise SystemExit("The kernel was not compiled, and LDSBOARD_REQUIRE_KERNEL=1 requires it.")
            self.warn("the kernel was not compiled; ldsboard will compute with BLAS")


class Wheel(bdist_wheel):
    """Tag the wheel for this platform if it holds the kernel, and as pure if not."""

    def run(self) -> None:
        """Build first, since the tag depends on the result."""
        if not self.skip_build:
            self.run_command("build")
            build = self.get_finalized_command("build_ext")
            if not build.get_outputs():
                self.distribution.ext_modules = None
                self.root_is_pure = True
        super().run()

    def get_tag(self) -> tuple[str, str, str]:
        """Return the tag: the kernel depends on the platform, and not on the version of Python."""
        tag = super().get_tag()
        return tag if self.root_is_pure else ("py3", "none", tag[2])


setup(
    ext_modules=[
        Extension(
            "ldsboard.core._sums",
            SOURCES,
            depends=[HEADER],
            define_macros=[("SOURCE_HASH", f"{source_hash(HEADER, *SOURCES)}u")],
            optional=True,
        )
    ],
    cmdclass={"build_ext": BuildKernel, "bdist_wheel": Wheel},
)

"""The threads of the server share few arenas of glibc, so that memory which one thread frees serves the others."""

from __future__ import annotations

import platform
import subprocess
import sys

PROGRAM = """
import ctypes
import threading
from app.cli.serve import limit_malloc_arenas

limited = {limit}
together = threading.Barrier(12)

def allocate():
    together.wait()
    block = ctypes.create_string_buffer(100_000)  # below the size that is mapped by itself
    together.wait()

threads = [threading.Thread(target=allocate) for _ in range(12)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
stream = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, stream)
libc.fflush(stream)
assert limited is {limit_is}
"""


def arenas(*, limited: bool) -> int:
    """Return the number of arenas of a process with twelve threads."""
    call = "limit_malloc_arenas()" if limited else "False"
    program = PROGRAM.format(limit=call, limit_is=limited)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.count("<heap nr=")


def test_threads_of_the_server_share_two_arenas() -> None:
    assert platform.libc_ver()[0] == "glibc"  # that of the tests' system packages
    assert arenas(limited=True) <= 2 < arenas(limited=False)

"""On Linux, make a process end when its parent process ends.

This module uses the standard library only, because it is imported before any slow import.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """On Linux, make the kernel kill this process, even if it is suspended, when the thread that started the process ends.

    On other systems, the function does nothing.

    Parameters
    ----------
    parent
        Process id of the parent. If this parent has already ended, the process exits at once.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent ended before the call of prctl
            os._exit(1)

"""What the system knows of processes: whom they started, and whether they run. psutil tells it."""

from __future__ import annotations

import os
import signal
import time

import psutil


def children(pid: int) -> set[int]:
    """Return the processes that a process started, those included that only wait to be reaped; none where it is gone."""
    try:
        return {child.pid for child in psutil.Process(pid).children()}
    except psutil.NoSuchProcess:
        return set()


def descendants(pid: int) -> set[int]:
    """Return the children of a process, theirs, and so on; none where it is gone."""
    try:
        return {child.pid for child in psutil.Process(pid).children(recursive=True)}
    except psutil.NoSuchProcess:
        return set()


def alive(pid: int) -> bool:
    """Tell whether a process is there and not merely waiting to be reaped."""
    try:
        return psutil.Process(pid).status() not in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}
    except psutil.NoSuchProcess:
        return False


def title(pid: int) -> str:
    """Return the command line that a process shows; nothing where it has ended."""
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:  # or a zombie, which psutil counts among them
        return ""


def stop(pid: int) -> None:
    """Stop a process and wait until it stands still."""
    os.kill(pid, signal.SIGSTOP)
    while psutil.Process(pid).status() != psutil.STATUS_STOPPED:
        time.sleep(0.001)

"""Query the operating system's processes with psutil: children, command line, and state."""

from __future__ import annotations

import os
import signal
import time

import psutil


def children(pid: int) -> set[int]:
    """Return the pids of a process's children, zombies included; an empty set if the process does not exist."""
    try:
        return {child.pid for child in psutil.Process(pid).children()}
    except psutil.NoSuchProcess:
        return set()


def descendants(pid: int) -> set[int]:
    """Return the pids of all descendants of a process; an empty set if the process does not exist."""
    try:
        return {child.pid for child in psutil.Process(pid).children(recursive=True)}
    except psutil.NoSuchProcess:
        return set()


def alive(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        return psutil.Process(pid).status() not in {psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD}
    except psutil.NoSuchProcess:
        return False


def command_line(pid: int) -> str:
    """Return the command line of a process; an empty string if the process has ended."""
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:  # psutil also raises this for a zombie
        return ""


def stop(pid: int) -> None:
    """Send SIGSTOP to a process and wait until it has stopped."""
    os.kill(pid, signal.SIGSTOP)
    while psutil.Process(pid).status() != psutil.STATUS_STOPPED:
        time.sleep(0.001)

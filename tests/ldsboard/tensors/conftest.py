"""Tests of the library with torch, an optional package; pytest collects none of them if torch is not installed."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("torch") else ["test_*.py"]

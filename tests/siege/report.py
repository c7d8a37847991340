"""The table that ``make siege`` prints: what was measured, its bound, and whether the bound holds."""

from __future__ import annotations

import time


class Report:
    """Prints one line for each measurement, and remembers whether all bounds hold."""

    def __init__(self) -> None:
        self.holds = True
        self._began = time.monotonic()

    def section(self, title: str) -> None:
        """Print the title of the following lines, with the seconds since the start."""
        print(f"\n{title}  [{time.monotonic() - self._began:.0f} s]", flush=True)

    def line(self, name: str, measured: str) -> None:
        """Print a measurement that has no bound."""
        print(f"  {name:52} {measured}", flush=True)

    def check(self, name: str, measured: float, bound: float, unit: str = "s", *, at_least: bool = False) -> None:
        """Print a measurement with its bound: an upper bound, unless `at_least` is set."""
        holds = measured >= bound if at_least else measured <= bound
        self.holds &= holds
        sign = "≥" if at_least else "≤"
        print(f"  {name:52} {measured:10.3g} {unit:6} {sign} {bound:<8.6g} {'ok' if holds else 'FAILS'}", flush=True)

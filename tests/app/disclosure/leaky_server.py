"""A server with a planted leak: it publishes numbers from hidden subsets with one decimal too many."""

from __future__ import annotations

from app.__main__ import cli
from app.leaderboard import disclosure

disclosure.DECIMALS += 1

if __name__ == "__main__":
    cli()

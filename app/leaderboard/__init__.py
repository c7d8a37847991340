"""Leaderboards: entries, ranks, and the numbers that may be shown."""

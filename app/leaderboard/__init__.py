"""Leaderboards: entries, ranks, and the rounding of numbers from hidden subsets."""

"""The trainer: makes ground truth by training a recipe on thousands of subsets. Imports ldsboard, never the service."""

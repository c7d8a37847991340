"""The trainer: create ground truth by training a recipe on thousands of subsets. The trainer imports ldsboard, never app."""

"""The trainer: creates ground truth by training a recipe on thousands of subsets. Imports ldsboard, never app."""

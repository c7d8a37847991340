"""Baselines: attribution methods that use the public half of a benchmark and nothing else.

Each is a function from `Material` and one setting, frozen in its file, to scores: float32 (n, N), positive where the presence
of a training example raises the margin of a target. `registry` lists them; docs/baselines.md tells how settings were chosen.
"""

"""Baselines: attribution methods that use only the public part of a benchmark.

Each baseline is a function from `Material` and one setting to scores: float32 (n, N), positive if the presence of a training
example raises the margin of a target. `registry` lists the baselines with their frozen settings;
docs/explanation/baselines.md describes how the settings were chosen.
"""

"""Baselines: attribution methods that use only the public part of a benchmark.

Each baseline is a function that takes `Material` and a setting, and returns scores, float32 (n, N). A score is positive if the
presence of the training example is expected to raise the margin of the target. `registry` lists the baselines and, for each, the
frozen setting, which is used for every benchmark. docs/explanation/baselines.md describes how the frozen settings were chosen.
"""

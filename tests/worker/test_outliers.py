"""Reporting failed models as outliers, but not models that are only slightly worse."""

from __future__ import annotations

import numpy as np

from worker.models import list_models
from worker.outliers import outliers
from worker.shards import Shard

MODELS = np.array(list_models({"public": 100, "hidden": 400}, 2))


def shards(accuracy: np.ndarray) -> list[Shard]:
    cuts = [(start, min(start + 300, len(accuracy))) for start in range(0, len(accuracy), 300)]
    zeros = np.zeros((300, 500), np.float32)
    return [Shard(a, b, MODELS[a:b], zeros[: b - a], accuracy[a:b], np.zeros(b - a), 1.0) for a, b in cuts]


def test_outliers_name_failed_models() -> None:
    accuracy = np.random.default_rng(3).normal(0.9, 0.01, 1000)
    accuracy[[7, 205, 999]] = 0.7, 0.1, 0.99
    low, lower, high = outliers(shards(accuracy))
    assert (low.number, low.part, low.subset, low.run) == (7, "public", 3, 1)
    assert str(lower) == f"model 205 (hidden subset 2, run 1): accuracy 0.1000, median {np.median(accuracy):.4f}"
    assert (high.number, high.subset, high.run) == (999, 399, 1)


def test_outliers_ignore_ordinary_models() -> None:
    accuracy = np.random.default_rng(4).binomial(500, 0.93, (50, 1000)) / 500
    assert sum(len(outliers(shards(row))) for row in accuracy) <= 1  # of 50,000 models


def test_outliers_among_nearly_equal_models_are_only_failed_ones() -> None:
    accuracy = np.full(1000, 0.94)
    accuracy[:3] = 0.94 - np.array([1, 4, 20]) / 500
    assert [outlier.number for outlier in outliers(shards(accuracy))] == [2]


def test_outliers_of_no_models_are_empty() -> None:
    assert outliers([]) == []

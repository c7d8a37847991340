"""The digits data set contains every digit of scikit-learn exactly once."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
from sklearn.datasets import load_digits

from worker.data import digits


def test_digits_contain_every_digit_once() -> None:
    data = digits()
    assert (data.train.images.shape, data.target.images.shape) == ((1200, 8, 8), (597, 8, 8))
    assert data.train.images.dtype == np.uint8
    index = np.concatenate([data.train.index, data.target.index])
    np.testing.assert_array_equal(np.sort(index), np.arange(1797))


def test_digits_index_refers_to_scikit_learn() -> None:
    data, source = digits(), load_digits()
    for part in data.parts.values():
        np.testing.assert_array_equal(part.images, source.images[part.index])
        np.testing.assert_array_equal(part.labels, source.target[part.index])


def test_description_has_sha256_of_every_array() -> None:
    data = digits()
    digests = data.describe()["sha256"]
    assert len(digests) == 6
    assert digests["train_images"] == sha256(data.train.images.tobytes()).hexdigest()
    assert digests["target_labels"] == sha256(data.target.labels.tobytes()).hexdigest()

"""Tensors, and torch's own products, give the bits that numpy gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from ldsboard import GroundTruth, lds
from tests.ldsboard.definition import result_bits

if TYPE_CHECKING:
    from tests.ldsboard.conftest import Large

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.mark.parametrize("device", DEVICES)
def test_torch_gives_the_bits_of_numpy(device: str, large: Large) -> None:
    scores, masks, margins = large
    assert result_bits(GroundTruth(masks, margins, device=device).score(scores)) == result_bits(lds(*large))


def test_tensors_of_the_same_values_give_the_same_bits(large: Large) -> None:
    scores, masks, margins = large
    expected = result_bits(lds(*large))
    assert result_bits(lds(torch.from_numpy(scores), masks, margins)) == expected
    assert result_bits(lds(scores, torch.from_numpy(masks), torch.from_numpy(margins))) == expected


def test_a_device_that_torch_does_not_know_is_refused(large: Large) -> None:
    _, masks, margins = large
    with pytest.raises(ValueError, match=r"device: expected a torch device with float64, got 'abacus' \(Expected one"):
        GroundTruth(masks, margins, device="abacus")

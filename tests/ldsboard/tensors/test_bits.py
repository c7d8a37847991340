"""Tensors and torch's matrix products give the same bits as numpy."""

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
def test_torch_device_gives_same_bits_as_numpy(device: str, large: Large) -> None:
    scores, masks, margins = large
    assert result_bits(GroundTruth(masks, margins, device=device).score(scores)) == result_bits(lds(*large))


def test_tensor_inputs_give_same_bits_as_arrays(large: Large) -> None:
    scores, masks, margins = large
    expected = result_bits(lds(*large))
    assert result_bits(lds(torch.from_numpy(scores), masks, margins)) == expected
    assert result_bits(lds(scores, torch.from_numpy(masks), torch.from_numpy(margins))) == expected


def test_ground_truth_rejects_device_unknown_to_torch(large: Large) -> None:
    _, masks, margins = large
    with pytest.raises(ValueError, match=r"device: expected a torch device with float64, got 'abacus' \(Expected one"):
        GroundTruth(masks, margins, device="abacus")

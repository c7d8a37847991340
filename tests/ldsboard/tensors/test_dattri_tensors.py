"""`lds` with tensors as dattri's metric takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from ldsboard import lds
from tests.ldsboard.definition import result_bits
from tests.ldsboard.test_dattri_arguments import indices_of

if TYPE_CHECKING:
    from tests.ldsboard.conftest import Large


@pytest.mark.parametrize("device", ["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
def test_tensors_in_a_pair_give_same_bits_as_arrays(large: Large, device: str) -> None:
    scores, masks, margins = large
    expected = result_bits(lds(*large))
    score, values, indices = (
        torch.from_numpy(array.copy()).to(device) for array in (scores, margins, indices_of(masks))
    )
    assert result_bits(lds(score, (values, indices))) == expected
    assert result_bits(lds(score.requires_grad_(), (values.requires_grad_(), indices.int()))) == expected
    assert result_bits(lds(torch.nn.Parameter(score), (values, torch.from_numpy(masks)))) == expected
    assert result_bits(lds(score, (values, list(indices)))) == expected


def test_tensor_in_bfloat16_has_the_lds_of_its_numbers(large: Large) -> None:
    scores, masks, margins = large
    pair = torch.from_numpy(margins), torch.from_numpy(indices_of(masks).copy())
    rounded = torch.from_numpy(scores).bfloat16()
    assert result_bits(lds(rounded, pair)) == result_bits(lds(rounded.float().numpy(), masks, margins))

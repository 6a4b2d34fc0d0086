"""Dropout on CPUs: what it keeps, scales and draws."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from qa_lightning.modeling.dropout import FastDropout, dropout_mask


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_a_share_is_kept_and_each_element_by_itself(p: float) -> None:
    torch.manual_seed(1)
    kept = dropout_mask(torch.Size((1001, 503)), p)
    assert kept.shape == (1001, 503)
    share = kept.double().mean().item()
    assert share == pytest.approx(1 - p, abs=5 * (p * (1 - p) / kept.numel()) ** 0.5)
    # Also of neighbours, in the rows, in the columns and at each of the four places of a draw.
    for pair in (kept[:, 1:] & kept[:, :-1], kept[1:] & kept[:-1]):
        assert pair.double().mean().item() == pytest.approx((1 - p) ** 2, abs=0.005)
    for place in range(4):
        assert kept.flatten()[place::4].double().mean().item() == pytest.approx(1 - p, abs=0.008)


def test_chance_is_that_of_torchs_seed() -> None:
    def draw(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return torch.stack([dropout_mask(torch.Size((50,)), 0.5) for _ in range(2)])

    assert torch.equal(draw(0), draw(0))
    assert not torch.equal(draw(0), draw(1))
    assert not torch.equal(*draw(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_are_scaled_and_gradients_follow(dtype: torch.dtype) -> None:
    layer = FastDropout(0.25)
    values = torch.full((40, 50), 3.0, dtype=dtype, requires_grad=True)
    result = layer(values)
    assert result.dtype == dtype
    assert result.unique().tolist() == [0.0, 4.0]
    result.backward(torch.full_like(result, 1.5))
    assert values.grad is not None
    assert torch.equal(values.grad, torch.where(result > 0, 2.0, 0.0).to(dtype))


@pytest.mark.parametrize(("p", "expected"), [(0.0, 3.0), (1.0, 0.0)])
def test_all_or_nothing(p: float, expected: float) -> None:
    assert FastDropout(p)(torch.full((9,), 3.0)).tolist() == [expected] * 9


def test_nothing_is_dropped_in_evaluation() -> None:
    values = torch.randn(9)
    assert torch.equal(FastDropout(0.5).eval()(values), values)

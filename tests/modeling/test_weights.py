"""Sets of weights are compared by value, and known again by their bits."""

from __future__ import annotations

import pytest
import torch

from qa_lightning.modeling.weights import fingerprint, network_weights, same_weights


def test_the_networks_part() -> None:
    ones = torch.ones(2)
    assert network_weights({"model.bert.weight": ones, "other": ones}) == {"bert.weight": ones}


def test_same_weights_in_the_precision_of_the_second() -> None:
    single = {"a": torch.tensor([1.0, 1.001])}
    half = {"a": torch.tensor([1.0, 1.001]).bfloat16()}
    assert same_weights(single, half)
    assert not same_weights(half, single)
    assert not same_weights(single, {"b": single["a"]})


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.bool]
)
def test_a_fingerprint_knows_each_bit(dtype: torch.dtype) -> None:
    weights = [torch.arange(6).reshape(2, 3).t().to(dtype), torch.zeros((), dtype=dtype)]
    before = fingerprint(weights)
    assert fingerprint([value.clone() for value in weights]) == before
    for place in range(2):
        changed = [value.clone() for value in weights]
        changed[place][(0,) * changed[place].dim()] = 1
        assert fingerprint(changed) != before
    assert fingerprint([]) == []

"""Attention of our own: it is torch's, but for the source of chance, and changes nothing else of a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForQuestionAnswering

from qa_lightning.modeling import dropout
from qa_lightning.modeling.attention import (
    ATTENTION_NAME,
    attention_with_fast_dropout,
    use_fast_dropout,
    use_our_attention,
)
from qa_lightning.modeling.dropout import FastDropout
from tests.modeling.families import CONFIGS, config
from tests.tiny import tiny_folder
from tests.training import make_data, make_module, make_trainer, trains, write_long

pytestmark = trains

QUERY, KEY, VALUE = torch.randn(3, 2, 4, 7, 8, generator=torch.Generator().manual_seed(0)).unbind()
MASK = (torch.arange(7) < torch.tensor([7, 5])[:, None])[:, None, None]


def network_of(family: str) -> Any:
    """A network of a family with dropout everywhere."""
    made = config(family)
    for key in vars(made):
        if "drop" in key and isinstance(getattr(made, key), float):
            setattr(made, key, 0.2)
    torch.manual_seed(0)
    return AutoModelForQuestionAnswering.from_config(made)


@pytest.mark.parametrize("mask", [None, MASK])
def test_attention_is_torchs(mask: Tensor | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dropout, "dropout_mask", lambda shape, _: torch.ones(shape, dtype=torch.bool))
    monkeypatch.setattr(dropout, "_masked", lambda values, kept, _: values * kept)
    inputs = [[values.clone().requires_grad_() for values in (QUERY, KEY, VALUE)] for _ in range(2)]
    ours = attention_with_fast_dropout(*inputs[0], mask, 0.3, 0.1)
    theirs = torch.nn.functional.scaled_dot_product_attention(*inputs[1], attn_mask=mask, scale=0.3)
    torch.testing.assert_close(ours, theirs)
    for result in (ours, theirs):
        result.square().sum().backward()
    for left, right in zip(*inputs, strict=True):
        torch.testing.assert_close(left.grad, right.grad)


def test_attention_drops_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = torch.rand(2, 4, 7, 7, generator=torch.Generator().manual_seed(3)) < 0.5
    monkeypatch.setattr(dropout, "dropout_mask", lambda *_: kept)
    weights = (QUERY @ KEY.transpose(2, 3) * 0.3).masked_fill(~MASK, float("-inf")).softmax(-1)
    torch.testing.assert_close(
        attention_with_fast_dropout(QUERY, KEY, VALUE, MASK, 0.3, 0.5), (weights * kept * 2) @ VALUE
    )


@pytest.mark.parametrize("family", CONFIGS)
def test_every_family_trains_with_it_and_evaluates_as_before(family: str) -> None:
    network = network_of(family)
    inputs = {"input_ids": torch.randint(5, 50, (2, 16)), "attention_mask": torch.ones(2, 16, dtype=torch.long)}
    inputs["attention_mask"][0, 12:] = 0
    if family == "longformer":
        inputs["global_attention_mask"] = torch.nn.functional.one_hot(torch.tensor([0, 1]), 16)
    before = network.eval()(**inputs).start_logits
    use_fast_dropout(network)
    use_our_attention(network)
    torch.testing.assert_close(network(**inputs).start_logits, before)
    loss = network.train()(**inputs).start_logits.square().mean()
    loss.backward()
    assert torch.isfinite(loss)
    assert ATTENTION_NAME not in str(network.config.to_dict())


@pytest.mark.parametrize("kernel", [None, "sdpa", "eager"])
def test_bert_draws_all_of_its_masks_with_it(kernel: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[int, ...]] = []

    def draw(shape: torch.Size, _: float) -> Tensor:
        drawn.append(tuple(shape))
        return torch.ones(shape, dtype=torch.bool)

    monkeypatch.setattr(dropout, "dropout_mask", draw)
    network = network_of("bert")
    network.set_attn_implementation(kernel or "sdpa")
    use_fast_dropout(network)
    use_our_attention(network, kernel)
    network.train()(input_ids=torch.randint(5, 50, (2, 16)))
    size, heads = network.config.hidden_size, network.config.num_attention_heads
    attention = [] if kernel == "eager" else [(2, heads, 16, 16)]
    assert drawn == [(2, 16, size), *[*attention, (2, 16, size), (2, 16, size)] * network.config.num_hidden_layers]


def test_training_takes_it_and_saves_a_plain_model(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "model")
    module = make_module(folder)
    make_trainer(tmp_path).fit(module, make_data(folder, train=write_long(tmp_path / "squad.json")))
    assert any(isinstance(layer, FastDropout) for layer in module.modules())
    module.save_pretrained(tmp_path / "saved")
    assert ATTENTION_NAME not in (tmp_path / "saved/config.json").read_text()
    AutoModelForQuestionAnswering.from_pretrained(tmp_path / "saved")

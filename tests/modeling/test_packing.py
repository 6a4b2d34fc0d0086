"""Windows in one row: logits and gradients are those of each window by itself, or the model is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForQuestionAnswering

from qa_lightning.modeling.network import accepted_inputs
from qa_lightning.modeling.packing import Packing
from qa_lightning.utils.errors import UserError
from tests.modeling.families import CONFIGS, config
from tests.tiny import tiny_folder
from tests.training import make_data, make_module, trains, write_long

pytestmark = trains

PACKED = ("bert", "distilbert", "roberta", "xlm-roberta", "electra", "albert", "modernbert")
"""The families that can be packed."""

REAL = torch.arange(16) < torch.tensor([16, 3, 9, 12])[:, None]


@pytest.mark.parametrize("family", PACKED)
def test_logits_and_gradients_are_those_of_padded_batches(family: str) -> None:
    torch.manual_seed(0)
    network = AutoModelForQuestionAnswering.from_config(config(family))
    inputs = {"input_ids": torch.randint(5, 50, (4, 16)), "token_type_ids": (torch.arange(16) > 5).long().expand(4, -1)}
    inputs = {name: values for name, values in inputs.items() if name in accepted_inputs(network)}
    inputs = {name: values * REAL for name, values in inputs.items()} | {"attention_mask": REAL.long()}
    weight = torch.randn(2, 4, 16) * REAL

    def gradients(start: torch.Tensor, end: torch.Tensor) -> list[torch.Tensor]:
        network.zero_grad()
        (start * weight[0] + end * weight[1]).sum().backward()
        return [one.grad.clone() for one in network.parameters() if one.grad is not None]

    output = network(**inputs)
    plain = gradients(output.start_logits, output.end_logits)
    start, end = Packing(network).logits(network, inputs)
    torch.testing.assert_close(start, output.start_logits * REAL)
    torch.testing.assert_close(end, output.end_logits * REAL)
    packed = gradients(start, end)
    assert len(packed) == len(plain)
    for ours, theirs in zip(packed, plain, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_no_time_is_spent_on_padding() -> None:
    network = AutoModelForQuestionAnswering.from_config(config("bert"))
    seen = []
    network.bert.encoder.layer[0].output.dense.register_forward_hook(lambda _, __, output: seen.append(output.shape))
    packing = Packing(network)
    seen.clear()
    packing.logits(network, {"input_ids": torch.randint(5, 50, (4, 16)), "attention_mask": REAL.long()})
    assert [shape[:2] for shape in seen] == [(1, int(REAL.sum()))]


@pytest.mark.parametrize("family", sorted(set(CONFIGS) - set(PACKED)))
def test_others_are_refused(family: str) -> None:
    network = AutoModelForQuestionAnswering.from_config(config(family)).train()
    with pytest.raises(UserError, match=r"model with this attention kernel cannot keep windows apart .* packing"):
        Packing(network)
    assert network.training


def test_windows_within_windows_are_refused() -> None:
    made = config("modernbert")
    made = type(made)(**made.to_dict() | {"num_hidden_layers": 2, "layer_types": None})
    assert "sliding_attention" in made.layer_types  # the only layer of the family above sees everything
    with pytest.raises(UserError, match="set packing to false"):
        Packing(AutoModelForQuestionAnswering.from_config(made))


def test_another_kernel_is_refused() -> None:
    network = AutoModelForQuestionAnswering.from_config(config("bert"), attn_implementation="eager")
    with pytest.raises(UserError, match="set packing to false"):
        Packing(network, "eager")


def test_a_module_packs_what_it_is_given(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "model")
    data = make_data(folder, train=write_long(tmp_path / "squad.json"), batch_size=8)
    data.setup("fit")
    plain, packing = (make_module(folder, packing=packing).eval() for packing in (False, True))
    for batch in data.train_dataloader():
        real = batch.inputs["attention_mask"] > 0
        for ours, theirs in zip(packing(batch), plain(batch), strict=True):
            torch.testing.assert_close(ours[real], theirs[real])

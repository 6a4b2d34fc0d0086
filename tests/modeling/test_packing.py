"""Windows in one row: logits and gradients are those of each window by itself, or the model is refused."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import AutoModelForQuestionAnswering

from qa_lightning.modeling import attention
from qa_lightning.modeling import packing as packing_module
from qa_lightning.modeling.attention import PackedWindows, has_flash_kernel, varlen_attention
from qa_lightning.modeling.network import accepted_inputs
from qa_lightning.modeling.packing import Packing, kernel_is_exact
from qa_lightning.utils.errors import UserError
from tests.modeling.families import CONFIGS, config
from tests.tiny import tiny_folder
from tests.training import make_data, make_module, make_trainer, trains, write_long
from tests.waits import Waits

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
        return [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]

    output = network(**inputs)
    plain = gradients(output.start_logits, output.end_logits)
    start, end = Packing(network).logits(network, inputs, 48)
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
    packing.logits(network, {"input_ids": torch.randint(5, 50, (4, 16)), "attention_mask": REAL.long()}, 48)
    assert [shape[:2] for shape in seen] == [(1, 48)]


@pytest.mark.parametrize("family", sorted(set(CONFIGS) - set(PACKED)))
def test_others_are_refused(family: str) -> None:
    network = AutoModelForQuestionAnswering.from_config(config(family)).train()
    with pytest.raises(UserError, match=r"model with this attention kernel cannot separate the windows .* packing"):
        Packing(network)
    assert network.training


def test_a_sliding_window_of_attention_stays_within_its_window() -> None:
    made = config("modernbert")
    made = type(made)(**made.to_dict() | {"num_hidden_layers": 4, "layer_types": None})
    assert "sliding_attention" in made.layer_types  # the only layer of the family above sees everything
    torch.manual_seed(0)
    network = AutoModelForQuestionAnswering.from_config(made).eval()
    ids, mask = torch.randint(5, 50, (4, 16)), REAL.long()
    theirs = network(input_ids=ids, attention_mask=mask).start_logits
    ours, _ = Packing(network).logits(network, {"input_ids": ids, "attention_mask": mask}, 48)
    torch.testing.assert_close(ours[REAL], theirs[REAL])
    # Also without a mask, where transformers is not asked for one.
    torch.testing.assert_close(network(input_ids=ids[:1]).start_logits, theirs[:1])
    assert made.sliding_window < 15


def test_a_compiled_network_is_not_compiled_for_the_comparison() -> None:
    network = AutoModelForQuestionAnswering.from_config(config("bert"))
    network.compile(backend=lambda *_: pytest.fail("compiled"))
    Packing(network)


def test_another_kernel_is_refused() -> None:
    network = AutoModelForQuestionAnswering.from_config(config("bert"), attn_implementation="eager")
    with pytest.raises(UserError, match="set packing to false"):
        Packing(network, "eager")


def test_windows_stand_one_behind_the_other() -> None:
    packed = PackedWindows.of(torch.tensor([3, 0, 2]), longest=3, tokens=9)
    assert packed.bounds.tolist() == [0, 3, 3, 5, 8, 9, 9]  # three windows and three fillers
    assert packed.bounds.dtype == torch.int32
    assert packed.window.tolist()[:5] == [0, 0, 0, 2, 2]
    assert packed.column.tolist() == [0, 1, 2, 0, 1, 0, 1, 2, 0]
    assert packed.padded[packed.mask].tolist() == [0, 1, 2, 3, 3, 4]
    assert packed.mask.tolist() == [[True] * 3, [True, False, False], [True, True, False]]


@given(st.lists(st.integers(0, 7), min_size=1, max_size=6), st.integers(0, 30))
def test_no_sequence_of_a_row_is_too_long_for_the_kernel(lengths: list[int], spare: int) -> None:
    tokens = max(1, sum(lengths) + spare)
    packed = PackedWindows.of(torch.tensor(lengths), longest=7, tokens=tokens)
    sizes = packed.bounds.diff()
    assert sizes[: len(lengths)].tolist() == lengths
    assert sizes.min() >= 0
    assert sizes.max() <= 7
    assert packed.bounds[-1] == tokens
    assert packed.column.max() < 7
    rows = [(window, column) for window, length in enumerate(lengths) for column in range(length)]
    assert list(zip(packed.window.tolist(), packed.column.tolist(), strict=True))[: len(rows)] == rows


def test_windows_padded_at_the_left_and_rows_that_are_none() -> None:
    torch.manual_seed(0)
    network = AutoModelForQuestionAnswering.from_config(config("bert")).eval()
    mask = REAL.flip(1)
    inputs = {"input_ids": torch.randint(5, 50, (4, 16)), "attention_mask": mask.long()}
    places = (mask.cumsum(1) - 1).clamp(min=0)
    theirs = network(**inputs, position_ids=places).start_logits
    ours, _ = Packing(network).logits(network, inputs, tokens=29, windows=3)
    torch.testing.assert_close(ours[:3][mask[:3]], theirs[:3][mask[:3]])


def test_nothing_in_a_packed_step_waits_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "_is_on_host", lambda _: False)
    network = AutoModelForQuestionAnswering.from_config(config("bert")).train()
    packing = Packing(network)
    inputs = {"input_ids": torch.randint(5, 50, (4, 16)), "attention_mask": REAL.long()}
    with Waits() as packed:
        start, end = packing.logits(network, inputs, 48)
        (start + end).sum().backward()
    with Waits() as padded:
        network(**inputs).start_logits.sum().backward()
    assert packed.seen == padded.seen == []


def test_the_kernel_of_a_gpu_is_called_as_torch_has_it() -> None:
    # On the meta device, which computes shapes only, forwards and backwards.
    query = torch.empty(48, 2, 8, device="meta", dtype=torch.bfloat16, requires_grad=True)
    assert has_flash_kernel(query)
    packed = PackedWindows.of(torch.tensor([20, 0, 13], device="meta"), 20, 48)
    result = varlen_attention(query, query, query, packed, 0.3, 0.1, reach=5)
    assert (result.shape, result.dtype) == (query.shape, query.dtype)
    result.sum().backward()
    assert query.grad is not None
    assert query.grad.shape == query.shape


def test_a_kernel_is_compared_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    assert not kernel_is_exact(cpu, torch.bfloat16, 8)  # there is none

    def kernel(query: Tensor, key: Tensor, value: Tensor, packed: PackedWindows, scaling: float, *_: Any) -> Tensor:
        bounds = packed.bounds.tolist()
        parts = [slice(*pair) for pair in pairwise(bounds)]
        return torch.cat(
            [
                torch.einsum(
                    "hqk,khd->qhd",
                    torch.einsum("qhd,khd->hqk", query[part], key[part]).mul(scaling).softmax(-1),
                    value[part],
                )
                for part in parts
            ]
        )

    monkeypatch.setattr(packing_module, "has_flash_kernel", lambda _: True)
    monkeypatch.setattr(packing_module, "varlen_attention", kernel)
    assert kernel_is_exact(cpu, torch.float32, 8)
    monkeypatch.setattr(packing_module, "varlen_attention", lambda *given: kernel(*given) * 1.2)
    assert not kernel_is_exact(cpu, torch.float32, 8)


@pytest.mark.parametrize("tokens_per_batch", [None, 60])
def test_a_module_packs_what_it_is_given(tmp_path: Path, tokens_per_batch: int | None) -> None:
    folder = tiny_folder(tmp_path / "model")
    data = make_data(folder, train=write_long(tmp_path / "squad.json"), batch_size=8, tokens_per_batch=tokens_per_batch)
    plain, packing = (make_module(folder, packing=packing).eval() for packing in (False, True))
    data.trainer = make_trainer(tmp_path)
    data.trainer.strategy.connect(packing)
    data.setup("fit")
    tokens = set()
    for batch in data.train_dataloader():
        tokens.add(batch.row_tokens)
        real = batch.inputs["attention_mask"][: len(batch)] > 0
        ours = packing(batch)
        for mine, theirs in zip(ours, plain(replace(batch, row_tokens=None)), strict=True):
            torch.testing.assert_close(mine[real], theirs[real])
    assert len(tokens) == 1
    assert None not in tokens

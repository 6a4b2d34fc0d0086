"""Heads by hand, in every family of networks, packed, copied, saved and loaded."""

from __future__ import annotations

import copy
import json
import math
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, tensor
from transformers import AutoModelForQuestionAnswering, AutoTokenizer, LxmertConfig

from qa_lightning.modeling.divergence import symmetric_divergence
from qa_lightning.modeling.heads import Answerability, HeadConfig, QAHead, TokenScores
from qa_lightning.modeling.loss import LossConfig, span_loss, training_loss
from qa_lightning.modeling.network import accepted_inputs, is_causal_network, load_network, network_inputs
from qa_lightning.modeling.objective import ScoredLogits, TrainingPass
from qa_lightning.modeling.optimization import Optimization
from qa_lightning.modeling.parameter_groups import parameter_groups
from qa_lightning.modeling.regularization import Regularization
from qa_lightning.records import Batch
from qa_lightning.utils.errors import UserError
from tests.modeling.families import CONFIGS, config
from tests.modeling.test_module import make_batch
from tests.tiny import tiny_folder, tiny_tokenizer
from tests.training import NO_DROPOUT, make_module, trains

pytestmark = trains

HEADS: list[dict[str, Any]] = [
    {"type": "pointer", "answerability": True},
    {"type": "joint"},
    {"type": "biaffine", "size": 8},
    {"type": "biaffine", "answerability": True},
    {"type": "joint", "answerability": True},
]
"""Every head, with the classifier and without."""


def name(values: dict[str, Any]) -> str:
    return values["type"] + ("-answerability" if values.get("answerability") else "")


each_head = pytest.mark.parametrize("values", HEADS, ids=name)


def some_batch() -> Batch:
    return make_batch(starts=[[5], [0], [7]], ends=[[6], [0], [7]], lengths=[8, 10, 9])


def module_with(folder: Path, values: dict[str, Any], **options: Any) -> Any:
    """A module whose head has learnt something, in evaluation mode."""
    module = make_module(folder, head=HeadConfig(**values), **options)
    torch.manual_seed(1)
    for parameter in module.model.qa_head.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return module.eval()


@torch.no_grad()
def scores_of(module: Any, batch: Batch) -> list[Tensor]:
    """The logits of real positions and pairs."""
    mask = batch.inputs["attention_mask"] > 0
    return [x[mask[:, :, None] & mask[:, None] if x.ndim == 3 else mask] for x in module(batch)]


# By hand


def head_of(kind: str, *, answerability: bool = False) -> QAHead:
    return QAHead(2, {"type": kind, "size": 2, "answerability": answerability})


def test_a_pair_scores_start_plus_end_plus_the_product_of_its_factors() -> None:
    scores = TokenScores(
        tensor([[1.0, 2.0]]),
        tensor([[3.0, 4.0]]),
        tensor([[[1.0, 0.0], [2.0, 1.0]]]),
        tensor([[[5.0, 6.0], [7.0, 8.0]]]),
    )
    start, end = head_of("biaffine").join(scores, torch.ones(1, 2), None)
    assert start.tolist() == [[1.0, 2.0]]
    assert end.tolist() == [[[3 + 5, 4 + 7], [3 + 10 + 6, 4 + 14 + 8]]]


def test_factors_are_a_biaffine_form_of_two_projections() -> None:
    head = head_of("biaffine")
    factors = head.get_submodule("biaffine")
    with torch.no_grad():
        for part, weights in (("start", [[1.0, 0.0], [0.0, 1.0]]), ("end", [[0.0, 1.0], [1.0, 0.0]])):
            factors.get_submodule(part).weight.copy_(tensor(weights))
            factors.get_submodule(part).bias.zero_()
        factors.form.copy_(tensor([[1.0, 2.0], [0.0, 3.0]]))
    # Far from zero, where GELU changes nothing.
    states = tensor([[[10.0, 20.0], [30.0, 40.0]]])
    scores = head(torch.zeros(1, 2), torch.zeros(1, 2), states)
    _, end = head.join(scores, torch.ones(1, 2), None)
    # start' form end, with end's projection swapping its elements: (10, 20) form = (10, 80).
    assert end[0, 0].tolist() == pytest.approx([10 * 20 + 80 * 10, 10 * 40 + 80 * 30])


def test_joint_ends_are_log_probabilities_over_real_positions_given_the_start() -> None:
    scores = TokenScores(torch.zeros(1, 3), tensor([[1.0, 3.0, 9.0]]).log(), torch.zeros(1, 3, 1), torch.zeros(1, 3, 1))
    _, end = head_of("joint").join(scores, tensor([[1, 1, 0]]), None)
    assert end[0, :, :2].exp().flatten().tolist() == pytest.approx([0.25, 0.75] * 3)


@pytest.mark.parametrize("kind", ["pointer", "biaffine", "joint"])
def test_the_classifier_adds_its_share_to_the_score_of_null_alone(kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    start, end, classifier = torch.randn(3, 2, 4, generator=generator)
    factors = [None, None] if kind == "pointer" else torch.randn(2, 2, 4, 2, generator=generator)
    mask, position = torch.ones(2, 4), tensor([2, -1])
    head = head_of(kind)
    plain = head.join(TokenScores(start, end, *factors), mask, position)
    mixed = head.join(TokenScores(start, end, *factors, classifier, 0.5 * classifier), mask, position)
    assert mixed.answerability is not None
    assert mixed.answerability.tolist() == [classifier[0, 2].item(), 0.0]

    def null_of(logits: tuple[Tensor, Tensor]) -> Tensor:
        return logits[0][0, 2] + (logits[1][0, 2] if kind == "pointer" else logits[1][0, 2, 2])

    torch.testing.assert_close(null_of(mixed), null_of(plain) + 0.5 * classifier[0, 2])
    for ours, theirs in zip(mixed, plain, strict=True):
        torch.testing.assert_close(ours[1], theirs[1])
        torch.testing.assert_close(ours[0, [0, 1, 3]], theirs[0, [0, 1, 3]])
    # Left out, null's place is the first real token.
    left = head.join(TokenScores(start, end, *factors, classifier, classifier), tensor([[0, 1, 1, 1]] * 2), None)
    assert left.answerability is not None
    assert left.answerability.tolist() == classifier[:, 1].tolist()


def test_the_classifiers_loss_by_hand() -> None:
    batch = make_batch(starts=[[5], [0], [-1], [6]], ends=[[6], [0], [-1], [6]], null=[0, 0, 0, -1])
    logits = ScoredLogits(torch.zeros(4, 10), torch.zeros(4, 10), tensor([1.0, 2.0, 3.0, 4.0]))
    step = TrainingPass(None, batch, logits, tensor(0.0), 0, lambda _=None: logits, lambda _: tensor(0.0))
    # The first window holds an answer, the second none; the third has no label, and the last no place for null.
    expected = (math.log1p(math.exp(1.0)) + math.log1p(math.exp(-2.0))) / 2
    assert Answerability(0.5)(step).item() == pytest.approx(0.5 * expected)


def test_the_loss_of_pairs_by_hand() -> None:
    # Over two real positions: e^(0+1) for the gold (0, 1) among 4 pairs.
    start, end = tensor([[0.0, 2.0, 50.0]]), tensor([[[3.0, 1.0, 50.0], [0.0, -1.0, 50.0], [50.0, 50.0, 50.0]]])
    losses, labelled = span_loss(start, end, tensor([[1, 1, 0]]), tensor([[0, -1]]), tensor([[1, -1]]))
    total = math.log(math.exp(3) + math.exp(1) + math.exp(2) + math.exp(1))
    assert labelled.tolist() == [True]
    assert losses.item() == pytest.approx((total - 1) / 2)


def test_the_loss_of_a_joint_head_is_that_of_the_start_and_that_of_the_end_given_the_start() -> None:
    torch.manual_seed(0)
    start = torch.randn(1, 5)
    end = torch.randn(1, 5, 5).log_softmax(-1)
    losses, _ = span_loss(start, end, torch.ones(1, 5), tensor([[1]]), tensor([[3]]))
    assert losses.item() == pytest.approx(-(start.log_softmax(-1)[0, 1] + end[0, 1, 3]).item() / 2, rel=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"label_smoothing": 0.2, "null_focal_gamma": 1.5},
        {"normalization": "spans"},
        {"normalization": "spans", "label_smoothing": 0.2, "answer_window_weight": 2.0},
    ],
    ids=str,
)
def test_losses_of_ends_that_do_not_depend_on_the_start_are_those_of_pointers(settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    batch = make_batch(starts=[[5, 7], [0, -1], [-1, -1]], ends=[[6, 7], [0, -1], [-1, -1]], lengths=[9, 10, 8])
    results = []
    for expand in (False, True):
        torch.manual_seed(0)
        start, end = torch.randn(2, 3, 10).unbind()
        start.requires_grad_()
        given = end[:, None].expand(-1, 10, -1).contiguous() if expand else end
        losses, labelled = training_loss(start, given, batch, LossConfig(**settings), 3)
        losses.sum().backward()
        results.append((losses.detach(), labelled, start.grad))
        other = (start.detach() + 1, given.roll(1, -1))
        results[-1] += (symmetric_divergence((start, given), other, batch.inputs["attention_mask"] > 0).detach(),)
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


# Networks


@pytest.mark.parametrize("family", CONFIGS)
def test_every_family_of_networks(family: str, tmp_path: Path) -> None:
    made = config(family)
    made.initializer_range = made.init_std = 0.3
    made.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    torch.manual_seed(0)
    options = {"version_2_with_negative": False, "head": HeadConfig(type="biaffine", size=4, answerability=True)}
    module = make_module(None, config_name=str(tmp_path), tokenizer_name=str(tmp_path), **options)
    batch = some_batch()
    module.log = lambda *_, **__: None
    module.training_step(batch, 0).backward()
    for parameter in ("biaffine.form", "answerability.weight"):
        assert module.model.qa_head.get_parameter(parameter).grad.abs().max() > 0, parameter
    start, end = module(batch)
    assert (start.shape, end.shape) == ((3, 10), (3, 10, 10))
    assert is_causal_network(module.model) == (family in ("qwen3", "llama"))
    groups = parameter_groups(module.model, 0.1, Optimization(head_learning_rate=1.0))
    rates = {id(p): group.get("own_lr") for group in groups for p in group["params"]}
    assert all(rates[id(parameter)] == 1.0 for parameter in module.model.qa_head.parameters())
    assert sum(rate is None for rate in rates.values()) > 3


@each_head
def test_at_first_a_head_scores_as_the_pointers_it_starts_from(folder: Path, values: dict[str, Any]) -> None:
    plain = make_module(folder).eval()
    module = make_module(folder, head=HeadConfig(**values)).eval()
    batch = some_batch()
    start, end = plain(batch)
    ours = module(batch)
    torch.testing.assert_close(ours[0], start)
    if values["type"] == "biaffine":
        end = end[:, None].expand_as(ours[1])
    if values["type"] == "joint":
        mask = batch.inputs["attention_mask"] > 0
        end = end.masked_fill(~mask, -1e9).log_softmax(-1)[:, None].expand_as(ours[1]) * mask[:, None]
        torch.testing.assert_close(ours[1] * mask[:, None], end)
    else:
        torch.testing.assert_close(ours[1], end)
    assert module.head_is_missing


@each_head
def test_packing_changes_nothing(folder: Path, values: dict[str, Any]) -> None:
    module = module_with(folder, values, packing=True)
    batch = some_batch()
    padded, packed = scores_of(module, batch), scores_of(module, replace(batch, row_tokens=32))
    for ours, theirs in zip(packed, padded, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    if values.get("answerability"):
        torch.testing.assert_close(
            module(replace(batch, row_tokens=32)).answerability, module(batch).answerability, rtol=1e-4, atol=1e-4
        )


def test_pairs_of_rows_that_fill_a_batch_are_not_scored(folder: Path) -> None:
    module = module_with(folder, {"type": "biaffine"}, packing=True).eval()
    inputs, packing = network_inputs(some_batch(), accepted_inputs(module.model)), module._acceleration.packing
    start, end = packing.logits(module.model, inputs, 32, windows=2)
    assert (start.shape, end.shape) == ((2, 10), (2, 10, 10))
    for ours, theirs in zip((start, end), packing.logits(module.model, inputs, 32), strict=True):
        torch.testing.assert_close(ours, theirs[:2])


def test_regularisers_are_added_to_the_loss_of_pairs(folder: Path) -> None:
    weights = {"r_drop": 1.0, "fgm": 1.0, "awp": 1.0, "smart": 50.0, "smart_radius": 0.05, "smart_step": 0.05}
    module = module_with(folder, {"type": "joint", "answerability": True}, regularization=Regularization(**weights))
    logged: dict[str, float] = {}
    module.log = lambda name, value, **_: logged.update({name: value.item()})
    loss = module.train().training_step(some_batch(), 0)
    loss.backward()
    assert all(0 < value < math.inf for value in logged.values())
    names = ("loss", "answerability", "r_drop", "fgm", "awp", "smart")
    assert set(logged) == {f"train/{name}" for name in names}
    assert loss.item() == pytest.approx(sum(logged.values()), rel=1e-5)


def test_pairs_are_scored_in_single_precision(folder: Path) -> None:
    module = module_with(folder, {"type": "biaffine"})
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, end = module(some_batch())
    assert end.dtype == torch.float32


def test_other_parameters_can_take_the_place_of_the_heads(folder: Path) -> None:
    module = module_with(folder, {"type": "joint", "answerability": True})
    batch = some_batch()
    nothing = {f"qa_head.{key}": torch.zeros_like(p) for key, p in module.model.qa_head.named_parameters()}
    with torch.no_grad():
        ours = module(batch, nothing)
    assert ours.answerability.tolist() == [0.0] * 3
    torch.testing.assert_close(ours[1][:, 0, :8], ours[1][:, 5, :8])


@each_head
def test_a_network_is_saved_loaded_copied_and_pickled(folder: Path, values: dict[str, Any], tmp_path: Path) -> None:
    module = module_with(folder, values)
    expected = scores_of(module, some_batch())
    module.save_pretrained(tmp_path / "saved")
    loaded = make_module(tmp_path / "saved").eval()
    assert not loaded.head_is_missing
    assert loaded.hparams["head"] == {"type": None, "size": None, "answerability": None, "answerability_weight": 1.0}
    again = pickle.loads(pickle.dumps(loaded.model))
    for other in (loaded, copy.deepcopy(loaded)):
        assert all(map(torch.equal, scores_of(other, some_batch()), expected))
    loaded.model = again
    assert all(map(torch.equal, scores_of(loaded, some_batch()), expected))


def test_transformers_alone_refuses_it_by_name_and_reads_its_tokenizer(folder: Path, tmp_path: Path) -> None:
    module_with(folder, {"type": "pointer", "answerability": True}).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="model type `qa_lightning` but Transformers does not recognize"):
        AutoModelForQuestionAnswering.from_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path)("ada")["input_ids"] == tiny_tokenizer()("ada")["input_ids"]
    kept = json.loads((tmp_path / "config.json").read_text())
    assert kept["qa_head"] == {"type": "pointer", "answerability": True, "model_type": "bert"}


def test_a_plain_head_is_transformers_own(folder: Path, tmp_path: Path) -> None:
    module = make_module(folder, head=HeadConfig(type="pointer", answerability=False))
    module.save_pretrained(tmp_path)
    assert type(module.model).__name__ == "BertForQuestionAnswering"
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "bert"
    assert module.loss_terms == ()
    AutoModelForQuestionAnswering.from_pretrained(tmp_path)


def test_a_second_round_may_have_another_head_or_none(folder: Path, tmp_path: Path) -> None:
    before = module_with(folder, {"type": "joint", "answerability": True})
    before.save_pretrained(tmp_path / "joint")
    biaffine = make_module(tmp_path / "joint", head=HeadConfig(type="biaffine"))
    assert biaffine.head_is_missing
    assert biaffine.model.config.qa_head == {"type": "biaffine", "size": 128, "answerability": True}
    kept, new = biaffine.model.qa_head.answerability.weight, biaffine.model.qa_head.get_parameter("biaffine.form")
    assert torch.equal(kept, before.model.qa_head.answerability.weight)
    assert not new.any()
    plain = make_module(tmp_path / "joint", head=HeadConfig(type="pointer", answerability=False))
    assert type(plain.model).__name__ == "BertForQuestionAnswering"
    assert not plain.head_is_missing
    plain.save_pretrained(tmp_path / "plain")
    AutoModelForQuestionAnswering.from_pretrained(tmp_path / "plain")


# Refusals


def test_a_network_whose_hidden_states_are_not_known_is_refused_by_name(tmp_path: Path) -> None:
    sizes = {"vocab_size": 60, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 32}
    LxmertConfig(**sizes, l_layers=1, x_layers=1, r_layers=1).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"^a lxmert model gives no hidden states for another head"):
        load_network(None, config_name=str(tmp_path), head=HeadConfig(type="joint"))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"type": "triaffine", "model_type": "bert"}, "its qa_head has the type 'triaffine'"),
        ({"type": "joint", "size": -1, "model_type": "bert"}, "its qa_head has the size -1"),
        ({"type": "joint", "answerability": "no", "model_type": "bert"}, "its qa_head has the answerability 'no'"),
        ({"type": "joint"}, "its qa_head does not name a model_type"),
        ([], "its qa_head does not name a model_type"),
    ],
)
def test_a_damaged_folder(tmp_path: Path, entry: Any, message: str) -> None:
    folder = tiny_folder(tmp_path)
    path = folder / "config.json"
    values = json.loads(path.read_text()) | {"model_type": "qa_lightning", "qa_head": entry}
    path.write_text(json.dumps(values))
    with pytest.raises(UserError, match=message):
        load_network(str(folder))


def test_sizes(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^model\.head\.size must be at least 1, not 0"):
        HeadConfig(type="joint", size=0)
    with pytest.raises(UserError, match=r"^model\.head\.answerability_weight must be at least 0, not -1"):
        HeadConfig(answerability_weight=-1)
    with pytest.raises(UserError, match=r"^model\.head\.size is that of the heads joint and biaffine"):
        make_module(folder, head=HeadConfig(size=8))
    module_with(folder, {"type": "joint", "size": 8}).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"^model\.head\.size: the head of .* has the size 8; leave it out"):
        make_module(tmp_path, head=HeadConfig(size=16))


def test_a_forward_that_drops_the_classifier(folder: Path) -> None:
    module = make_module(folder, head=HeadConfig(answerability=True), config_overrides=NO_DROPOUT)
    step = TrainingPass(
        module.model, some_batch(), (tensor(0.0), tensor(0.0)), tensor(0.0), 0, lambda _=None: None, None
    )
    with pytest.raises(UserError, match="answerability head"):
        module.loss_terms[0](step)

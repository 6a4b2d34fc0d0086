"""Each regulariser by itself, on a network of two parameters that is worked by hand.

Its window has two positions, its embedding table one number w, and its head one number v; start and end logits are
(w·v, 0), and the gold is the first position. So p = σ(w·v), and the loss is -log p.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn, tensor
from torch.func import functional_call

from qa_lightning.modeling.adversarial import awp, fgm
from qa_lightning.modeling.ascent import gradients_within_step, unit
from qa_lightning.modeling.divergence import symmetric_divergence
from qa_lightning.modeling.objective import Logits, LossTerm, TrainingPass
from qa_lightning.modeling.r_drop import RDrop
from qa_lightning.modeling.smoothness import Smoothness
from qa_lightning.records import Batch
from qa_lightning.utils.errors import UserError

W, V = 0.8, 1.5


class Two(nn.Module):
    """A network of two parameters."""

    config = SimpleNamespace(model_type="two")

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(1, 1)
        self.head = nn.Linear(1, 1, bias=False)
        nn.init.constant_(self.words.weight, W)
        nn.init.constant_(self.head.weight, V)

    def get_input_embeddings(self) -> nn.Embedding:
        return self.words

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.head(self.words(input_ids))[..., 0] * tensor([1.0, 0.0])


def sigmoid(x: float) -> float:
    return tensor(x, dtype=torch.float64).sigmoid().item()


def make_pass(network: nn.Module, *, epoch: int = 0, **replaced: Any) -> TrainingPass:
    """The first pass of the network."""
    ids = torch.zeros(1, 2, dtype=torch.long)
    batch: Any = Batch({"input_ids": ids, "attention_mask": ids + 1}, *[ids == 0] * 2, ids[:, 0], ids, ids, ["q"])

    def forward(parameters: Mapping[str, Tensor] | None = None) -> Logits:
        logits = functional_call(network, dict(parameters or {}), (ids,))
        return logits, logits

    def loss_of(logits: Logits) -> Tensor:
        return -(logits[0].log_softmax(-1) + logits[1].log_softmax(-1))[0, 0] / 2

    logits = forward()
    values: dict[str, Any] = {"logits": logits, "loss": loss_of(logits), "forward": forward, "loss_of": loss_of}
    return TrainingPass(**{"network": network, "batch": batch, "epoch": epoch} | values | replaced)


def gradients(network: Two, loss: Tensor) -> tuple[float, float]:
    """Of w and v, by the backward pass of a training step."""
    network.zero_grad()
    loss.backward()
    assert network.words.weight.grad is not None
    assert network.head.weight.grad is not None
    return network.words.weight.grad.item(), network.head.weight.grad.item()


def apart(p: float, q: float) -> float:
    """Half of KL(p ‖ q) + KL(q ‖ p) of two coins."""
    return (p * log(p / q) + (1 - p) * log((1 - p) / (1 - q)) + q * log(q / p) + (1 - q) * log((1 - q) / (1 - p))) / 2


# Adversarial


def test_fgm_moves_the_embedding_by_its_radius() -> None:
    network = Two()
    training_pass = make_pass(network)
    term = fgm(weight=0.5, radius=0.25)(training_pass)
    moved = W - 0.25  # which raises the loss, since v is above 0
    assert term.item() == pytest.approx(-0.5 * log(sigmoid(moved * V)), rel=1e-6)
    first, second = 1 - sigmoid(W * V), 0.5 * (1 - sigmoid(moved * V))
    assert gradients(network, training_pass.loss + term) == pytest.approx(
        (-first * V - second * V, -first * W - second * moved), rel=1e-5
    )
    assert network.words.weight.item() == pytest.approx(W)


def test_awp_moves_each_matrix_by_a_share_of_its_norm() -> None:
    network = Two()
    training_pass = make_pass(network)
    term = awp(weight=2.0, radius=0.1)(training_pass)
    w, v = 0.9 * W, 0.9 * V
    assert term.item() == pytest.approx(-2 * log(sigmoid(w * v)), rel=1e-6)
    first, second = 1 - sigmoid(W * V), 2 * (1 - sigmoid(w * v))
    # How far is a constant: the gradient at (0.9 w, 0.9 v) is that of the step, as in the paper.
    assert gradients(network, training_pass.loss + term) == pytest.approx(
        (-first * V - second * v, -first * W - second * w), rel=1e-5
    )


def test_awp_waits_for_its_first_epoch() -> None:
    def forward(parameters: Any = None) -> Logits:
        raise AssertionError

    term = awp(weight=1.0, radius=0.1, start_epoch=2)
    assert term(make_pass(Two(), epoch=1, forward=forward)).item() == 0
    assert term(make_pass(Two(), epoch=2)).item() > 0


def test_parameters_that_are_not_trained_stay_where_they_are() -> None:
    network = Two()
    network.words.weight.requires_grad_(False)
    assert awp(1.0, 0.1)(make_pass(network)).item() == pytest.approx(-log(sigmoid(W * 0.9 * V)), rel=1e-6)
    assert fgm(1.0, 0.1)(make_pass(network)).item() == 0


def test_biases_stay_where_they_are() -> None:
    network = Two()
    network.head = nn.Linear(1, 1)
    nn.init.constant_(network.head.weight, V)
    nn.init.constant_(network.head.bias, 0.5)
    term = awp(1.0, 0.1)(make_pass(network))
    assert term.item() == pytest.approx(-log(sigmoid(0.9 * W * 0.9 * V + 0.5)), rel=1e-6)


# Divergences


def test_the_divergence_of_two_predictions() -> None:
    never = 50.0  # at a position that is padding
    first = tensor([[log(3), 0, never], [0, 0, 0]]), tensor([[0, 0, never], [1, 2, 3.0]])
    other = tensor([[0, 0, 0], [5, 5, 5.0]]), tensor([[0, 0, -never], [1, 2, 3.0]])
    mask = tensor([[True, True, False], [True, True, True]])
    divergence = symmetric_divergence(first, other, mask)
    assert divergence.tolist() == pytest.approx([apart(3 / 4, 1 / 2) / 2, 0], abs=1e-6)
    assert divergence[0].item() == pytest.approx(log(3) / 16, rel=1e-5)
    torch.testing.assert_close(symmetric_divergence(other, first, mask), divergence)


def test_the_gradient_of_a_divergence_is_finite_and_none_of_paddings() -> None:
    logits = tensor([[300.0, -300.0, 9.0]], requires_grad=True)
    other = tensor([[-300.0, 300.0, 9.0]])
    symmetric_divergence((logits, logits), (other, other), tensor([[True, True, False]])).sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad[0, 2].item() == 0
    assert logits.grad[0, 0].item() > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_divergence_of_half_precision_is_computed_in_single(dtype: torch.dtype) -> None:
    first, other = (torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(seed)).to(dtype) for seed in (0, 1))
    mask = torch.ones(3, 8, dtype=torch.bool)
    expected = symmetric_divergence((first[0].float(), first[1].float()), (other[0].float(), other[1].float()), mask)
    assert symmetric_divergence((first[0], first[1]), (other[0], other[1]), mask).equal(expected)


def test_r_drop() -> None:
    network = Two()

    def forward(parameters: Any = None) -> Logits:
        logits = network(torch.zeros(1, 2, dtype=torch.long)) / 2  # as if dropout had taken half
        return logits, logits

    training_pass = make_pass(network, forward=forward)
    p, q = sigmoid(W * V), sigmoid(W * V / 2)
    term = RDrop(3.0)(training_pass)
    assert term.item() == pytest.approx(3 * apart(p, q) + (log(p) - log(q)) / 2, rel=1e-5)
    whole = training_pass.loss + term
    assert whole.item() == pytest.approx(3 * apart(p, q) - (log(p) + log(q)) / 2, rel=1e-5)
    # With z = w·v: d/dz ½ (p - q) z / 2 = ¼ (p - q + z (p' - q'/2))
    z, dp, dq = W * V, p * (1 - p), q * (1 - q) / 2
    by_z = 3 * (p - q + z * (dp - dq)) / 4 - (1 - p) / 2 - (1 - q) / 4
    assert gradients(network, whole) == pytest.approx((by_z * V, by_z * W), rel=1e-4)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_smart_moves_an_embedding_to_the_edge(seed: int) -> None:
    torch.manual_seed(seed)
    side = torch.randn(1, 2, 1)[0, 0].sign().item()
    network = Two()
    training_pass = make_pass(network)
    torch.manual_seed(seed)
    term = Smoothness(weight=10.0, radius=0.2, step=1.0)(training_pass)
    p, q = sigmoid(W * V), sigmoid((W + side * 0.2) * V)
    assert term.item() == pytest.approx(10 * apart(p, q), rel=1e-4)
    # With δ = ±0.2: d/dw ½ (q - p) δ v, and by v
    delta, dp, dq = side * 0.2, p * (1 - p), q * (1 - q)
    by_w = 5 * (dq * V - dp * V) * delta * V
    by_v = 5 * ((dq * (W + delta) - dp * W) * delta * V + (q - p) * delta)
    assert gradients(network, term) == pytest.approx((by_w, by_v), rel=1e-3)
    assert not network.words._forward_hooks


def test_smart_moves_no_further_than_its_step_along_the_gradient() -> None:
    training_pass = make_pass(Two())
    torch.manual_seed(1)
    noise = 0.5 * torch.randn(1, 2, 1)[0, 0].item()
    assert 0 < noise < 0.4
    torch.manual_seed(1)
    term = Smoothness(weight=1.0, radius=0.5, step=0.1)(training_pass)
    assert term.item() == pytest.approx(apart(sigmoid(W * V), sigmoid((W + noise + 0.1) * V)), rel=1e-4)


def test_smart_says_where_there_are_no_embeddings_to_move() -> None:
    network = Two()
    network.get_input_embeddings = lambda: nn.Embedding(1, 1)  # type: ignore[method-assign]
    with pytest.raises(UserError, match=r"a two model looks up no word embeddings; set .*smart to 0"):
        Smoothness(1.0, 0.1, 0.1)(make_pass(network))


# All of them


TERMS: dict[str, LossTerm] = {
    "r_drop": RDrop(1.0),
    "fgm": fgm(1.0, 0.1),
    "awp": awp(1.0, 0.1),
    "smart": Smoothness(1.0, 0.1, 0.1),
}


@pytest.mark.parametrize("name", TERMS)
def test_a_term_leaves_gradients_and_parameters_to_the_step(name: str) -> None:
    network = Two()
    term = TERMS[name](make_pass(network))
    assert TERMS[name].name == name
    assert TERMS[name].reruns_network
    assert term.shape == ()
    assert all(parameter.grad is None for parameter in network.parameters())
    assert [parameter.item() for parameter in network.parameters()] == pytest.approx([W, V])


@pytest.mark.parametrize("name", TERMS)
def test_gradients_of_several_batches_add_up(name: str) -> None:
    network = Two()
    torch.manual_seed(0)
    once = gradients(network, TERMS[name](make_pass(network)))
    network.zero_grad()
    for _ in range(2):
        torch.manual_seed(0)
        TERMS[name](make_pass(network)).backward()
    assert network.head.weight.grad is not None
    assert network.head.weight.grad.item() == pytest.approx(2 * once[1], abs=1e-7)


def test_small_gradients_in_float16_have_their_direction() -> None:
    weights = tensor([1.0, -1.0], requires_grad=True)
    loss = (weights.half().float() * tensor([3e-8, 4e-8])).sum()
    assert loss.requires_grad
    (direct,) = torch.autograd.grad(loss, [weights], retain_graph=True)
    (gradient,) = gradients_within_step(loss, [weights])
    assert direct[0].item() != pytest.approx(3e-8, rel=0.1)  # it was rounded away
    assert gradient is not None
    torch.testing.assert_close(unit(gradient, gradient.norm()), tensor([0.6, 0.8]), rtol=0.01, atol=0.01)


def test_gradients_that_are_no_numbers_move_nothing() -> None:
    gradient = tensor([[3.0, 4.0], [0.0, 0.0], [float("inf"), 1.0], [float("nan"), 1.0]])
    expected = tensor([[0.6, 0.8], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    torch.testing.assert_close(unit(gradient, gradient.norm(dim=-1, keepdim=True)), expected)

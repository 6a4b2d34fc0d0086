"""Optimizers by name, and Muon and AdamW as one."""

from __future__ import annotations

import copy
from typing import Any, get_args

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from qa_lightning.modeling import optimizers
from qa_lightning.modeling.muon import BY_MUON, MuonWithAdamW
from qa_lightning.modeling.optimizers import OptimizerName, check_optimizer, make_optimizer
from qa_lightning.utils.errors import UserError

OF_PACKAGE = ("lion", "ademamix", "lamb", "adan")

needs_muon = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="needs torch 2.9")

NAMES = [pytest.param(name, marks=needs_muon if name == "muon" else ()) for name in get_args(OptimizerName)]

RATES = {"sgd": 0.3, "adafactor": 0.1, "adagrad": 0.3}


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))


def groups(network: nn.Sequential) -> list[dict[str, Any]]:
    return [
        {"params": [network[0].weight], "weight_decay": 0.01, BY_MUON: True},
        {"params": [network[2].weight], "weight_decay": 0.01},
        {"params": [network[0].bias, network[2].bias], "weight_decay": 0.0},
    ]


def loss_of(network: nn.Module) -> torch.Tensor:
    torch.manual_seed(1)
    inputs = torch.randn(16, 4)
    return (network(inputs) - inputs[:, :2]).square().mean()


def train(network: nn.Module, optimizer: Optimizer, steps: int) -> float:
    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = loss_of(network)
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)
    return float(loss_of(network).detach())


@pytest.mark.parametrize("name", NAMES)
def test_each_learns_and_goes_on_where_it_was(name: OptimizerName) -> None:
    if name in OF_PACKAGE:
        pytest.importorskip("pytorch_optimizer")
    network, rate = net(), RATES.get(name, 0.03)
    before = float(loss_of(network).detach())
    optimizer = make_optimizer(name, groups(network), rate)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.01, 0.0]
    assert [group["lr"] for group in optimizer.param_groups] == [rate] * 3
    assert train(network, optimizer, 20) < 0.9 * before
    resumed = copy.deepcopy(network)
    other = make_optimizer(name, groups(resumed), rate)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for group in (*optimizer.param_groups, *other.param_groups):
        group["lr"] = rate / 2  # as a schedule does
    assert train(network, optimizer, 3) == train(resumed, other, 3)


@needs_muon
def test_muon_and_adamw_as_one_do_what_each_does() -> None:
    network, alone = net(), net()
    both = make_optimizer("muon", groups(network), 0.02)
    of_matrices, *others = [{key: value for key, value in group.items() if key != BY_MUON} for group in groups(alone)]
    muon = torch.optim.Muon([of_matrices], lr=0.02, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(others, lr=0.02)
    train(network, both, 5)
    for _ in range(5):
        alone.zero_grad()
        loss_of(alone).backward()
        muon.step()
        adamw.step()
    for weights, expected in zip(network.parameters(), alone.parameters(), strict=True):
        assert torch.equal(weights, expected)


@needs_muon
@pytest.mark.parametrize("by_muon", [True, False])
def test_muon_or_adamw_may_have_nothing_to_do(by_muon: bool) -> None:
    weights = nn.Parameter(torch.ones(2, 2))
    optimizer = MuonWithAdamW([{"params": [weights], BY_MUON: by_muon}], lr=0.1)
    weights.square().sum().backward()
    optimizer.step()
    assert (weights < 1).all()


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("adamw", {"beta": 0.9}, "adamw has no 'beta'; it has betas, eps"),
        ("adamw", {"betas": [0.9, 2]}, "adamw does not accept them: Invalid beta"),
        pytest.param("muon", {"betas": [0.9, 2]}, "muon does not accept them: Invalid beta", marks=needs_muon),
        pytest.param("muon", {"adjust_lr_fn": "best"}, "muon does not accept them: ", marks=needs_muon),
        ("sgd", {"lr": 0.1}, r"lr is given by model\.learning_rate"),
        ("sgd", {"weight_decay": 0.1}, r"weight_decay is given by model\.weight_decay"),
    ],
)
def test_arguments_that_an_optimizer_does_not_take(
    name: OptimizerName, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        check_optimizer(name, arguments)


def test_arguments_get_to_the_optimizer() -> None:
    made = make_optimizer("sgd", groups(net()), 0.1, {"momentum": 0.9, "nesterov": True})
    assert all(group["momentum"] == 0.9 and group["nesterov"] for group in made.param_groups)


@needs_muon
def test_arguments_get_to_muon_and_to_adamw() -> None:
    both = make_optimizer("muon", groups(net()), 0.1, {"momentum": 0.5, "betas": [0.8, 0.9]})
    assert both.param_groups[0]["momentum"] == 0.5
    assert tuple(both.param_groups[1]["betas"]) == (0.8, 0.9)


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_what_can_be_fused_is(name: OptimizerName) -> None:
    assert all(group["fused"] for group in make_optimizer(name, groups(net()), 0.1).param_groups)
    assert not any(group["fused"] for group in make_optimizer(name, groups(net()), 0.1, fused=False).param_groups)
    assert not any(group["fused"] for group in make_optimizer(name, groups(net().to("meta")), 0.1).param_groups)


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimizers, "is_installed", lambda name: name in ("adamw", "sgd"))
    with pytest.raises(
        UserError, match=r"lion is in a package that is not installed; install qa_lightning\[optimizers"
    ):
        make_optimizer("lion", groups(net()), 0.1)
    with pytest.raises(UserError, match=r"muon needs torch 2\.9"):
        make_optimizer("muon", groups(net()), 0.1)
    check_optimizer("lion", {"unknown": 1})  # a model that was trained with it can be evaluated

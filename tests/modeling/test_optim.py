"""Parameter groups, AdamW, and schedules beside transformers' own."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_scheduler

from qa_lightning.modeling.optim import Schedule, adamw, check_schedule, make_schedule
from qa_lightning.modeling.parameter_groups import parameter_groups
from qa_lightning.utils.errors import UserError

SCHEDULES: tuple[Schedule, ...] = (
    *("linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup"),
)


def network() -> nn.Module:
    return nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 3), nn.LayerNorm(3), nn.Linear(3, 2, bias=False))


def optimizer(learning_rate: float = 1.0) -> torch.optim.Optimizer:
    return adamw(parameter_groups(nn.Linear(2, 2), 0.1), learning_rate)


def rates(scheduler: LRScheduler, steps: int) -> list[float]:
    """The learning rate of each step."""
    seen = []
    for _ in range(steps):
        seen.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.optimizer.step()
        scheduler.step()
    return seen


def test_matrices_decay_and_biases_and_norms_do_not() -> None:
    module = network()
    decayed, plain = parameter_groups(module, 0.01)
    assert [parameter.shape for parameter in decayed["params"]] == [(5, 4), (3, 4), (2, 3)]
    assert [parameter.shape for parameter in plain["params"]] == [(3,), (3,), (3,)]
    assert decayed["weight_decay"] == 0.01
    assert plain["weight_decay"] == 0.0
    assert len(decayed["params"] + plain["params"]) == len(list(module.parameters()))


def test_frozen_parameters_are_in_no_group() -> None:
    module = network()
    module[0].requires_grad_(False)
    module[1].bias.requires_grad_(False)
    assert [len(group["params"]) for group in parameter_groups(module, 0.01)] == [2, 2]
    for parameter in module.parameters():
        parameter.requires_grad_(parameter.ndim > 1)
    assert len(parameter_groups(module, 0.01)) == 1


def test_decay_shrinks_only_what_decays() -> None:
    module = nn.Linear(2, 2)
    nn.init.ones_(module.weight)
    nn.init.ones_(module.bias)
    optimizer = adamw(parameter_groups(module, 0.5), learning_rate=0.1)
    (module(torch.zeros(1, 2)) * 0).sum().backward()
    optimizer.step()
    assert torch.allclose(module.weight, torch.tensor(1 - 0.1 * 0.5))
    assert torch.equal(module.bias, torch.ones(2))


@pytest.mark.parametrize("fused", [True, False])
def test_adamw_is_fused_unless_it_must_not_be(fused: bool) -> None:
    made = adamw(parameter_groups(network(), 0.01), 3e-5, fused=fused)
    assert isinstance(made, torch.optim.AdamW)
    assert all(group["fused"] == fused for group in made.param_groups)
    assert all(group["lr"] == 3e-5 for group in made.param_groups)


def test_adamw_is_not_fused_where_there_is_no_kernel() -> None:
    made = adamw(parameter_groups(network().to("meta"), 0.01), 3e-5)
    assert not any(group["fused"] for group in made.param_groups)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("warmup_steps", [0, 3])
def test_schedules_are_those_of_transformers(name: Schedule, warmup_steps: int) -> None:
    ours = make_schedule(optimizer(), name, steps=12, warmup_ratio=0.0, warmup_steps=warmup_steps)
    theirs = get_scheduler(name, optimizer(), warmup_steps, 12)
    assert rates(ours, 12) == rates(theirs, 12)


def test_linear_by_hand() -> None:
    scheduler = make_schedule(optimizer(0.4), "linear", steps=6, warmup_ratio=0.0, warmup_steps=2)
    assert rates(scheduler, 7) == pytest.approx([0.0, 0.2, 0.4, 0.3, 0.2, 0.1, 0.0])


def test_cosine_ends_at_zero_by_half_a_wave() -> None:
    scheduler = make_schedule(optimizer(), "cosine", steps=4, warmup_ratio=0.0, warmup_steps=0)
    assert rates(scheduler, 5) == pytest.approx([(1 + math.cos(math.pi * i / 4)) / 2 for i in range(5)])


def test_the_rate_rises_stays_and_falls() -> None:
    settings: dict[str, Any] = {"steps": 10, "warmup_ratio": 0.2, "warmup_steps": 0}
    linear = {"decay_type": "linear"}
    scheduler = make_schedule(optimizer(), "warmup_stable_decay", **settings, decay_ratio=0.3, arguments=linear)
    assert rates(scheduler, 11) == pytest.approx([0, 0.5, 1, 1, 1, 1, 1, 1, 2 / 3, 1 / 3, 0])
    scheduler = make_schedule(optimizer(), "warmup_stable_decay", **settings)
    assert rates(scheduler, 11) == pytest.approx([0, 0.5, *[1] * 8, 0])
    floor = linear | {"num_decay_steps": 2, "min_lr_ratio": 0.2}
    scheduler = make_schedule(optimizer(), "warmup_stable_decay", **settings, arguments=floor)
    assert rates(scheduler, 11)[-3:] == pytest.approx([1, 0.6, 0.2])


def test_a_decay_that_is_longer_than_what_the_warm_up_leaves_begins_after_it() -> None:
    scheduler = make_schedule(
        optimizer(), "warmup_stable_decay", steps=4, warmup_ratio=0, warmup_steps=2, decay_ratio=1.0
    )
    assert rates(scheduler, 5) == pytest.approx([0, 0.5, 1, 0.5, 0])


def test_cosine_starts_again() -> None:
    settings: dict[str, Any] = {"steps": 8, "warmup_ratio": 0, "warmup_steps": 0, "arguments": {"num_cycles": 2}}
    wave = [(1 + math.cos(math.pi * i / 4)) / 2 for i in range(4)]
    assert rates(make_schedule(optimizer(), "cosine_with_restarts", **settings), 8) == pytest.approx(wave + wave)


def test_groups_keep_the_ratios_of_their_rates() -> None:
    parameters = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    both = torch.optim.SGD([{"params": parameters[:1], "lr": 0.1}, {"params": parameters[1:], "lr": 0.4}])
    scheduler = make_schedule(both, "linear", steps=6, warmup_ratio=0, warmup_steps=2)
    for _ in range(6):
        low, high = (group["lr"] for group in both.param_groups)
        assert high == pytest.approx(4 * low)
        both.step()
        scheduler.step()


@pytest.mark.parametrize(
    ("name", "decay_ratio", "arguments", "message"),
    [
        ("cosine", 0.1, {}, "decay_ratio is of lr_scheduler_type: warmup_stable_decay, which cosine is not"),
        ("constant", None, {"num_cycles": 2}, "the schedule constant has none"),
        ("linear", None, {"num_cycles": 2}, "the schedule linear does not accept them"),
        ("warmup_stable_decay", None, {"decay_type": "square"}, "Unknown decay type: square"),
    ],
)
def test_arguments_that_a_schedule_does_not_take(
    name: Schedule, decay_ratio: float | None, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        check_schedule(name, decay_ratio, arguments)


@pytest.mark.parametrize(
    ("ratio", "steps", "warmup"),
    [(0.1, 100, 10), (0.1, 101, 11), (0.1, 5, 1), (0.06, 20, 2), (0.25, 8, 2), (0.0, 100, 0), (1.0, 7, 7)],
)
def test_a_share_of_the_steps_is_rounded_up(ratio: float, steps: int, warmup: int) -> None:
    by_ratio = make_schedule(optimizer(), "linear", steps=steps, warmup_ratio=ratio, warmup_steps=0)
    assert rates(by_ratio, steps) == rates(get_scheduler("linear", optimizer(), warmup, steps), steps)


def test_a_number_of_steps_goes_before_a_share() -> None:
    both = make_schedule(optimizer(), "linear", steps=20, warmup_ratio=0.5, warmup_steps=3)
    assert rates(both, 20) == rates(get_scheduler("linear", optimizer(), 3, 20), 20)


@pytest.mark.parametrize(
    ("name", "ratio"),
    [
        ("linear", 0.0),
        ("cosine", 0.0),
        ("cosine_with_restarts", 0.0),
        ("warmup_stable_decay", 0.0),
        ("polynomial", 0.0),
        ("constant_with_warmup", 0.1),
        ("constant", 0.1),
    ],
)
def test_training_without_an_end_has_no_schedule_that_needs_one(name: Schedule, ratio: float) -> None:
    with pytest.raises(UserError, match=r"trainer\.max_epochs or trainer\.max_steps"):
        make_schedule(optimizer(), name, steps=math.inf, warmup_ratio=ratio, warmup_steps=0)


def test_training_without_an_end_can_have_a_constant_rate() -> None:
    constant = make_schedule(optimizer(), "constant", steps=math.inf, warmup_ratio=0.0, warmup_steps=0)
    assert rates(constant, 5) == [1.0] * 5
    warm = make_schedule(optimizer(), "constant_with_warmup", steps=math.inf, warmup_ratio=0.0, warmup_steps=2)
    assert rates(warm, 4) == [0.0, 0.5, 1.0, 1.0]
    both = make_schedule(optimizer(), "constant_with_warmup", steps=math.inf, warmup_ratio=0.3, warmup_steps=2)
    assert rates(both, 4) == [0.0, 0.5, 1.0, 1.0]

from __future__ import annotations

import pytest
import torch
from torch import nn

from qa_lightning.modeling import finite
from qa_lightning.modeling.finite import LossCheck, can_skip_steps
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.host_copies import HostCopy
from tests.waits import Waits


class Copy(HostCopy):
    """A copy that has not arrived before a number of looks, as one from a GPU."""

    looks = 3

    def __init__(self, tensor: torch.Tensor) -> None:
        super().__init__(tensor)
        self.left = self.looks

    def has_arrived(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.fixture(autouse=True)
def _gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has losses arrive as if they came from a GPU."""
    monkeypatch.setattr(finite, "HostCopy", Copy)


def test_a_loss_is_looked_at_at_once() -> None:
    check = LossCheck()
    check.add(torch.tensor(1.5), 0, ["a"], defer=False)
    with pytest.raises(UserError, match="the loss is nan at step 3, in the batch with the questions b, c; lower"):
        check.add(torch.tensor(float("nan")), 3, ["b", "c", "b"], defer=False)
    check.add(torch.tensor(1.0), 4, ["d"], defer=False)
    check.finish()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_or_when_it_has_arrived(value: float) -> None:
    check = LossCheck()
    check.add(torch.tensor(1.0), 0, ["a"], defer=True)
    check.add(torch.tensor(value), 1, ["bad"], defer=True)
    # The first is there at the fourth look, and then the second at its fourth.
    for step in range(2, 6):
        check.add(torch.tensor(1.0), step, ["c"], defer=True)
    with pytest.raises(UserError, match="at step 1, in the batch with the questions bad"):
        check.add(torch.tensor(1.0), 6, ["c"], defer=True)


def test_the_host_is_never_far_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Copy, "looks", 10**9)
    monkeypatch.setattr(finite, "MAX_PENDING_LOSSES", 5)
    check = LossCheck()
    check.add(torch.tensor(float("nan")), 0, ["bad"], defer=True)
    for step in range(1, 5):
        check.add(torch.tensor(1.0), step, ["c"], defer=True)
    with pytest.raises(UserError, match="at step 0"):
        check.add(torch.tensor(1.0), 5, ["c"], defer=True)


def test_what_is_on_its_way_is_waited_for_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Copy, "looks", 10**9)
    check = LossCheck()
    check.add(torch.tensor(float("inf")), 7, ["bad"], defer=True)
    with pytest.raises(UserError, match="the loss is inf at step 7"):
        check.finish()


def test_a_step_waits_for_nothing() -> None:
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = torch.optim.AdamW([weight], lr=0.1, fused=True)
    check = LossCheck()
    with Waits() as waits:
        check.add((weight * 2).sum(), 0, ["a"], defer=True)
        check.add((weight * 3).sum(), 0, ["b"], defer=True)
        weight.grad = torch.tensor([1.0, 1.0])
        check.before_step(optimizer)
        optimizer.step()
    assert not waits.seen
    with waits:
        check.finish()
    assert waits.seen


def test_only_fused_optimizers_skip_steps() -> None:
    parameters = [nn.Parameter(torch.ones(2))]
    assert can_skip_steps(torch.optim.AdamW(parameters, fused=True))
    assert not can_skip_steps(torch.optim.AdamW(parameters))
    assert not can_skip_steps(torch.optim.RMSprop(parameters))


@pytest.mark.parametrize("losses", [(1.0, 2.0), (float("nan"), 2.0), (2.0, float("nan"))])
def test_a_step_of_which_a_loss_is_not_a_number_changes_nothing(
    losses: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Copy, "looks", 10**9)
    weight = nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = torch.optim.AdamW([weight], lr=0.1, fused=True)
    check = LossCheck()

    def step(values: tuple[float, ...]) -> list[float]:
        """One step of several batches."""
        for value in values:
            check.add(torch.tensor(value), 0, ["a"], defer=True)
        weight.grad = torch.tensor([1.0, 1.0])
        check.before_step(optimizer)
        optimizer.step()
        return weight.tolist()

    before = step((0.5, 0.5))
    assert before != [1.0, -2.0]
    after = step(losses)
    assert (after == before) == any(value != value for value in losses)
    # The next one is a step again.
    assert step((0.5, 0.5)) != after

"""Terms that are added to the loss: what they are given, what is learnt and logged, and that none costs nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from qa_lightning.modeling.objective import TrainingPass, compute_terms
from qa_lightning.utils.errors import UserError
from tests.modeling.test_module import make_batch
from tests.training import NO_DROPOUT, Watch, make_data, make_module, make_trainer, trains, write_long

pytestmark = trains


class Term:
    """The mean loss of the golds with one bias moved, and what it was computed from."""

    name = "moved"
    reruns_network = True

    def __init__(self, by: float = 0.5) -> None:
        self.by = by
        self.seen: list[TrainingPass] = []

    def __call__(self, training_pass: TrainingPass) -> Tensor:
        self.seen.append(training_pass)
        bias = training_pass.network.qa_outputs.bias
        return training_pass.loss_of(training_pass.forward({"qa_outputs.bias": bias + torch.tensor([self.by, 0.0])}))


@pytest.mark.parametrize("packing", [False, True])
def test_a_term_sees_the_pass_and_makes_others(folder: Path, packing: bool) -> None:
    module = make_module(folder, packing=packing, config_overrides=NO_DROPOUT)
    batch = make_batch(starts=[[5], [-1], [7]], ends=[[6], [-1], [7]], lengths=[10, 10, 8])
    batch.row_tokens = 40 if packing else None
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    alone = module.training_step(batch, 0)
    term = Term()
    module.loss_terms = (term,)
    both = module.training_step(batch, 0)
    (seen,) = term.seen
    assert seen.batch is batch
    assert seen.mask.equal(batch.inputs["attention_mask"].bool())
    assert seen.loss.equal(alone)
    assert seen.loss_of(seen.logits).equal(alone)
    for again, logits in zip(seen.forward(), seen.logits, strict=True):
        assert again.equal(logits)
    weight = module.model.qa_outputs.weight
    start, end = seen.forward({"qa_outputs.weight": 2 * weight, "qa_outputs.bias": torch.tensor([1.0, 0.0])})
    bias = module.model.qa_outputs.bias
    torch.testing.assert_close(start * seen.mask, (2 * (seen.logits[0] - bias[0]) + 1) * seen.mask)
    torch.testing.assert_close(end * seen.mask, 2 * (seen.logits[1] - bias[1]) * seen.mask)
    assert module.model.qa_outputs.weight is weight
    torch.testing.assert_close(both, 2 * alone)  # a softmax does not see its bias


def test_another_pass_draws_its_own_dropout(folder: Path) -> None:
    module = make_module(folder)
    batch = make_batch(starts=[[5]], ends=[[6]])
    assert not torch.equal(module(batch)[0], module(batch)[0])


def test_terms_are_logged_by_their_names(folder: Path, tmp_path: Path) -> None:
    data = make_data(folder, train=write_long(tmp_path / "squad.json"))
    module, plain = (make_module(folder, config_overrides=NO_DROPOUT) for _ in range(2))
    term = Term()
    module.loss_terms = (term,)
    seen = Watch(lambda trainer, _: {name: float(value) for name, value in trainer.callback_metrics.items()})
    make_trainer(tmp_path, seen, max_steps=2).fit(module, data)
    assert len(term.seen) == len(seen.seen) == 2
    assert term.seen[0].epoch == 0
    assert set(term.seen[0].batch.ids) <= {f"0-{i}" for i in range(7)}
    for metrics in seen.seen:
        assert metrics["train/moved"] == pytest.approx(metrics["train/loss"], abs=1e-5)
    expected = Watch(lambda trainer, _: float(trainer.callback_metrics["train/loss"]))
    make_trainer(tmp_path, expected, max_steps=2).fit(plain, data)
    assert seen.seen[0]["train/loss"] == pytest.approx(expected.seen[0], abs=1e-6)


def test_a_term_that_is_not_a_number_stops_training(folder: Path, tmp_path: Path) -> None:
    module = make_module(folder)
    module.loss_terms = (Term(float("nan")),)
    with pytest.raises(UserError, match=r"the loss is nan at step 0, in the batch with the questions 0-"):
        make_trainer(tmp_path, max_steps=2).fit(module, make_data(folder, train=write_long(tmp_path / "squad.json")))


def test_no_terms() -> None:
    training_pass = TrainingPass(None, make_batch(starts=[[5]], ends=[[6]]), *[None] * 5)  # type: ignore[arg-type]
    assert compute_terms((), training_pass) == {}

"""``best.ckpt`` and ``last.ckpt``: which states they hold, also after interruptions, and that training goes on."""

from __future__ import annotations

import functools
import itertools
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.plugins.io import AsyncCheckpointIO
from lightning.pytorch.utilities.exceptions import SIGTERMException

from qa_lightning.callbacks.checkpoint import RunCheckpoint
from qa_lightning.modeling.module import QALightningModule
from qa_lightning.utils.errors import UserError
from tests import forked
from tests.training import Send, StopAt, make_data, make_module, make_trainer, script_scores, trains

pytestmark = [*trains, pytest.mark.usefixtures("_interruptible")]

DROPOUT = {"hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.3}
STEPS = 5
"""Of an epoch."""


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """Lightning no longer listens to Ctrl-C once it was interrupted."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


class Training:
    """Trainings of one model on one file, each in the folder of a run."""

    def __init__(self, model: Path, squad: Path, run: Path) -> None:
        self.model, self.squad, self.run = model, squad, run
        self.checkpoints = run / "checkpoints"

    def fit(
        self, *callbacks: pl.Callback, f1: tuple[float, ...] = (), resume: bool | Path = False, **options: Any
    ) -> QALightningModule:
        """Trains two epochs, or as long as the options say."""
        pl.seed_everything(0, verbose=False)
        module = make_module(self.model, learning_rate=1e-3, config_overrides=DROPOUT)
        if f1:
            script_scores(module, *f1)
        validation = {} if options.pop("validate", True) is False else {"validation_file": str(self.squad)}
        shapes = options.pop("batch_shapes", None)
        if not any(isinstance(callback, RunCheckpoint) for callback in callbacks):
            callbacks = (*callbacks, RunCheckpoint())
        trainer = make_trainer(self.run, *callbacks, **{"max_epochs": 2, "num_sanity_val_steps": 0} | options)
        path = self.checkpoints / "last.ckpt" if resume is True else resume or None
        data = make_data(self.model, train=self.squad, batch_size=4, batch_shapes=shapes, **validation)
        trainer.fit(module, data, ckpt_path=path, weights_only=True)
        return module

    def step(self, name: str) -> int:
        """The step that a checkpoint was saved after."""
        return torch.load(self.checkpoints / f"{name}.ckpt", weights_only=True)["global_step"]

    def names(self) -> list[str]:
        return sorted(path.name for path in self.checkpoints.iterdir())


class Batches(pl.Callback):
    """The ids of every batch that was trained."""

    def __init__(self) -> None:
        self.ids: list[list[str]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        self.ids.append(batch.ids)


class Validations(pl.Callback):
    """After which steps a validation was finished, and of how many batches."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.batches: list[int] = []

    def on_validation_start(self, *_: Any) -> None:
        self.batches.append(0)

    def on_validation_batch_end(self, *_: Any) -> None:
        self.batches[-1] += 1

    def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.steps.append(trainer.global_step)


class OneGo(NamedTuple):
    """A training that nothing interrupted."""

    module: QALightningModule
    trained: Batches
    validated: Validations


@pytest.fixture
def training(model: Path, squad: Path, tmp_path: Path) -> Training:
    return Training(model, squad, tmp_path / "run")


@pytest.fixture(scope="module")
def in_one_go(model: Path, squad: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., OneGo]:
    """Trains to the end, with the same options once."""

    @functools.cache
    def trained(**options: Any) -> OneGo:
        batches, validations = Batches(), Validations()
        training = Training(model, squad, tmp_path_factory.mktemp("straight"))
        return OneGo(training.fit(batches, validations, **options), batches, validations)

    return trained


def same(first: QALightningModule, second: QALightningModule) -> bool:
    states = first.state_dict(), second.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


# Which states are kept


@pytest.mark.parametrize(
    ("f1", "best"),
    [((10.0, 20.0, 30.0), 3), ((30.0, 20.0, 10.0), 1), ((10.0, 30.0, 20.0), 2), ((10.0, 10.0, 10.0), 1)],
)
def test_the_best_epoch_and_the_last(training: Training, f1: tuple[float, ...], best: int) -> None:
    training.fit(f1=f1, max_epochs=3)
    assert training.names() == ["best.ckpt", "last.ckpt"]
    assert training.step("best") == best * STEPS
    assert training.step("last") == 3 * STEPS


def test_less_can_be_better(training: Training) -> None:
    training.fit(RunCheckpoint(mode="min"), f1=(20.0, 10.0, 30.0), max_epochs=3)
    assert training.step("best") == 2 * STEPS


def test_another_score_can_be_watched(training: Training) -> None:
    training.fit(RunCheckpoint(monitor="val/loss", mode="min"), f1=(90.0, 10.0), max_epochs=2)
    assert training.step("best") == 2 * STEPS  # two epochs of training make the loss smaller


def test_several_validations_in_an_epoch(training: Training) -> None:
    training.fit(f1=(10.0, 30.0, 20.0), max_epochs=1, val_check_interval=2)
    assert training.step("best") == 4
    assert training.step("last") == STEPS


def test_the_last_state_is_kept_without_any_validation(training: Training) -> None:
    training.fit(validate=False)
    assert training.names() == ["last.ckpt"]
    assert training.step("last") == 2 * STEPS


class Spy(pl.Callback):
    """After every step, the step that the last checkpoint was saved after."""

    def __init__(self, training: Training) -> None:
        self.training = training
        self.seen: list[int] = []

    def on_train_batch_end(self, *_: Any) -> None:
        there = (self.training.checkpoints / "last.ckpt").is_file()
        self.seen.append(self.training.step("last") if there else 0)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_last_state_every_few_steps(training: Training, accumulate: int) -> None:
    spy = Spy(training)
    checkpoint = RunCheckpoint(every_n_train_steps=2)
    training.fit(spy, checkpoint, f1=(10.0,), max_epochs=1, accumulate_grad_batches=accumulate)
    assert spy.seen == ([0, 0, 2, 2, 4] if accumulate == 1 else [0, 0, 0, 0, 2])


# States on the way


def every(steps: int, limit: int | None, **options: Any) -> RunCheckpoint:
    return RunCheckpoint(every_n_train_steps=steps, save_total_limit=limit, **options)


@pytest.mark.parametrize(("limit", "kept"), [(None, []), (1, [8]), (2, [6, 8]), (9, [2, 4, 6, 8]), (-1, [2, 4, 6, 8])])
def test_the_last_few_step_checkpoints_are_kept(training: Training, limit: int | None, kept: list[int]) -> None:
    training.fit(every(2, limit), f1=(30.0, 20.0), max_steps=9)
    assert training.names() == sorted(["best.ckpt", "last.ckpt", *(f"step-{step}.ckpt" for step in kept)])
    assert [training.step(f"step-{step}") for step in kept] == kept  # though the last state's file went on changing
    assert training.step("best") == STEPS
    assert training.step("last") == 9
    assert all((training.checkpoints / f"step-{step}.ckpt").stat().st_nlink == 1 for step in kept)


def test_a_step_checkpoint_is_written_once(training: Training, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the last state's file under another name, or a copy, where the file system knows no links."""

    class Links(pl.Callback):
        def __init__(self, training: Training) -> None:
            self.last, self.step = (training.checkpoints / f"{name}.ckpt" for name in ("last", "step-2"))
            self.same: list[bool] = []

        def on_after_backward(self, trainer: pl.Trainer, *_: Any) -> None:
            if trainer.global_step == 2:
                self.same = [self.last.samefile(self.step), self.last.read_bytes() == self.step.read_bytes()]

    links = Links(training)
    training.fit(links, every(2, 1), validate=False, max_steps=3)
    assert links.same == [True, True]

    def refuse(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    other = Training(training.model, training.squad, training.run.with_name("other"))
    copies = Links(other)
    other.fit(copies, every(2, 1), validate=False, max_steps=3)
    assert copies.same == [False, True]
    assert other.names() == ["last.ckpt", "step-2.ckpt"]
    assert other.step("step-2") == 2


def test_step_checkpoints_are_found_again_when_training_goes_on(training: Training) -> None:
    with pytest.raises(ValueError, match="killed"):
        training.fit(every(2, 3), StopAt(ValueError("killed"), 7), validate=False)
    (training.checkpoints / "step-4-mine.ckpt").touch()
    assert training.names() == ["last.ckpt", "step-2.ckpt", "step-4-mine.ckpt", "step-4.ckpt", "step-6.ckpt"]
    training.fit(every(2, 3), validate=False, resume=True)
    assert training.names() == ["last.ckpt", "step-10.ckpt", "step-4-mine.ckpt", "step-6.ckpt", "step-8.ckpt"]


def test_training_goes_on_from_a_step_checkpoint(model: Path, squad: Path, tmp_path: Path) -> None:
    straight = Training(model, squad, tmp_path / "straight").fit(max_epochs=2)
    training = Training(model, squad, tmp_path / "run")
    training.fit(every(2, -1), max_epochs=2)
    assert training.names() == ["best.ckpt", "last.ckpt", *(f"step-{step}.ckpt" for step in (10, 2, 4, 6, 8))]
    back = training.fit(every(3, 2), max_epochs=2, resume=training.checkpoints / "step-4.ckpt")
    assert same(back, straight)
    # Those beyond it were of the end that training went back from, and are the first to go.
    assert training.names() == ["best.ckpt", "last.ckpt", "step-6.ckpt", "step-9.ckpt"]


def test_step_checkpoints_with_weights_only_and_with_accumulation(training: Training) -> None:
    training.fit(every(2, 2, save_weights_only=True), validate=False, max_epochs=2, accumulate_grad_batches=2)
    assert training.names() == ["last.ckpt", "step-4.ckpt", "step-6.ckpt"]
    assert "optimizer_states" not in torch.load(training.checkpoints / "step-4.ckpt", weights_only=True)


def test_step_checkpoints_of_a_strategy_that_still_writes(training: Training) -> None:
    training.fit(every(2, -1), validate=False, max_steps=6, plugins=[AsyncCheckpointIO()])
    assert training.names() == ["last.ckpt", "step-2.ckpt", "step-4.ckpt", "step-6.ckpt"]
    assert [training.step(f"step-{step}") for step in (2, 4, 6)] == [2, 4, 6]


@pytest.mark.parametrize("limit", [0, -2])
def test_a_limit_that_keeps_nothing(limit: int) -> None:
    with pytest.raises(UserError, match=f"save_total_limit must be at least 1, or -1 for all, not {limit}"):
        every(2, limit)


@pytest.mark.parametrize("steps", [None, 0])
def test_a_limit_of_step_checkpoints_that_nobody_makes(steps: int | None) -> None:
    with pytest.raises(UserError, match="every_n_train_steps makes: set both"):
        RunCheckpoint(every_n_train_steps=steps, save_total_limit=2)


def test_a_step_that_ends_an_epoch_can_still_be_the_best(training: Training) -> None:
    training.fit(RunCheckpoint(every_n_train_steps=STEPS), f1=(10.0, 20.0))
    assert training.step("best") == training.step("last") == 2 * STEPS


def test_a_score_that_is_not_there(training: Training) -> None:
    with pytest.raises(UserError, match=r"no score 'val/f2' to watch .*val/loss, val/exact_match, val/f1, "):
        training.fit(RunCheckpoint(monitor="val/f2"))


def test_a_score_that_is_written_in_another_way_is_refused_before_training(training: Training) -> None:
    with pytest.raises(
        UserError, match=r"there will be no score 'val_f1' to watch \(checkpoint.monitor\); scores are called val/f1"
    ):
        training.fit(RunCheckpoint(monitor="val_f1"))


def test_a_callback_may_log_a_score_of_any_name(training: Training) -> None:
    class Own(pl.Callback):
        def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            pl_module.log("my_score", 1.0)

    training.fit(Own(), RunCheckpoint(monitor="my_score"), max_epochs=1)
    assert (training.checkpoints / "best.ckpt").is_file()


def test_weights_only(training: Training) -> None:
    training.fit(RunCheckpoint(save_weights_only=True))
    for name in ("best", "last"):
        checkpoint = torch.load(training.checkpoints / f"{name}.ckpt", weights_only=True)
        assert "optimizer_states" not in checkpoint
        assert "state_dict" in checkpoint


def test_nothing_is_saved_by_an_evaluation(training: Training) -> None:
    trainer = make_trainer(training.run, RunCheckpoint())
    trainer.validate(make_module(training.model), make_data(training.model, validation_file=str(training.squad)))
    assert not training.checkpoints.exists()


def test_loggers_are_given_the_paths_of_the_checkpoints(training: Training) -> None:
    class Listening(DummyLogger):
        def __init__(self) -> None:
            super().__init__()
            self.received: list[tuple[str, str]] = []

        def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
            self.received.append((checkpoint_callback.best_model_path, checkpoint_callback.last_model_path))

    logger = Listening()
    training.fit(f1=(10.0, 20.0), logger=logger, log_every_n_steps=1)
    assert logger.received[-1] == (str(training.checkpoints / "best.ckpt"), str(training.checkpoints / "last.ckpt"))


# Interruptions


@pytest.mark.parametrize("exception", [KeyboardInterrupt(), SIGTERMException()])
@pytest.mark.parametrize("in_validation", [False, True])
def test_an_interruption_keeps_the_last_state_and_the_best(
    training: Training, exception: BaseException, in_validation: bool
) -> None:
    stop = StopAt(exception, STEPS + 2, in_validation=in_validation)
    with pytest.raises(SystemExit) as caught:
        training.fit(stop, f1=(10.0, 20.0), max_epochs=3)
    assert caught.value.code != 0 or isinstance(exception, SIGTERMException)  # which the command line makes 143
    assert training.names() == ["best.ckpt", "last.ckpt"]
    assert training.step("best") == STEPS
    assert training.step("last") == (2 * STEPS if in_validation else STEPS + 2)


def test_an_interruption_of_the_first_validation_loses_nothing(training: Training) -> None:
    with pytest.raises(SystemExit):
        training.fit(StopAt(KeyboardInterrupt(), 1, in_validation=True))
    assert training.names() == ["last.ckpt"]
    assert training.step("last") == STEPS


def test_an_interruption_before_the_first_step_leaves_nothing(training: Training) -> None:
    with pytest.raises(SystemExit):
        training.fit(StopAt(KeyboardInterrupt(), 0, in_validation=False), accumulate_grad_batches=2)
    assert not training.checkpoints.exists()


def test_a_failure_keeps_the_last_good_state(training: Training) -> None:
    with pytest.raises(ValueError, match="broken"):
        training.fit(StopAt(ValueError("broken"), STEPS + 2), f1=(10.0, 20.0))
    assert training.step("last") == STEPS


# Going on


@pytest.mark.parametrize("in_validation", [False, True])
def test_training_that_goes_on_ends_where_one_in_one_go_does(
    model: Path, squad: Path, tmp_path: Path, in_validation: bool
) -> None:
    straight = Training(model, squad, tmp_path / "straight").fit(max_epochs=3)
    training = Training(model, squad, tmp_path / "run")
    if in_validation:
        with pytest.raises(SystemExit):
            training.fit(StopAt(KeyboardInterrupt(), 2 * STEPS, in_validation=True), max_epochs=3)
    else:

        class Failure(pl.Callback):
            def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
                if trainer.current_epoch == 2:
                    raise ValueError("broken")

        with pytest.raises(ValueError, match="broken"):
            training.fit(Failure(), max_epochs=3)
    assert training.step("last") == 2 * STEPS
    assert same(training.fit(resume=True, max_epochs=3), straight)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("saved", "killed", "options"),
    [
        (1, 2, {}),
        (2, 3, {}),
        (STEPS + 2, STEPS + 4, {}),
        (STEPS + 1, 2 * STEPS, {"validate": False}),
        (2, 3, {"val_check_interval": 2}),
        (2 * STEPS, 2 * STEPS + 1, {}),
        (1, 2, {"accumulate_grad_batches": 2}),
        (STEPS + 2, STEPS + 4, {"batch_shapes": 2}),
    ],
)
def test_training_goes_on_in_mid_epoch(
    in_one_go: Callable[..., OneGo],
    model: Path,
    squad: Path,
    tmp_path: Path,
    saved: int,
    killed: int,
    options: dict[str, Any],
) -> None:
    """Batches and weights are those of a training in one go, though the process was killed without a warning."""
    straight, whole, _ = in_one_go(max_epochs=3, **options)
    before, after = Batches(), Batches()
    training = Training(model, squad, tmp_path / "run")
    with pytest.raises(ValueError, match="killed"):
        training.fit(
            before,
            RunCheckpoint(every_n_train_steps=saved),
            StopAt(ValueError("killed"), killed),
            max_epochs=3,
            **options,
        )
    assert training.step("last") in (saved, killed)
    assert same(training.fit(after, resume=True, max_epochs=3, **options), straight)
    assert len(whole.ids) == 3 * STEPS
    assert whole.ids == whole.ids[: -len(after.ids)] + after.ids
    assert before.ids == whole.ids[: len(before.ids)]


def test_steps_alone_end_a_training_that_goes_on_at_the_end_of_an_epoch(
    in_one_go: Callable[..., OneGo], training: Training
) -> None:
    """The next epoch has its own order: Lightning counts the one before twice where no number of epochs is given."""
    limits = {"max_epochs": -1, "max_steps": 2 * STEPS + 2}
    straight, whole, _ = in_one_go(**limits)
    training.fit(RunCheckpoint(every_n_train_steps=STEPS, save_total_limit=-1), **limits)
    after = Batches()
    first_epoch = training.checkpoints / f"step-{STEPS}.ckpt"
    assert same(training.fit(after, resume=first_epoch, **limits), straight)
    assert after.ids == whole.ids[STEPS:]


ENDINGS = [
    # after which step the signal comes, whether in its validation, and after which one training ends
    (2, False, 3, {}),
    (STEPS - 1, False, STEPS, {}),
    (STEPS, True, STEPS, {}),
    (3 * STEPS, True, 3 * STEPS, {}),
    (1, False, 2, {"val_check_interval": 2}),
    (2, True, 2, {"val_check_interval": 2}),
    (2, False, 3, {"val_check_interval": 2}),
    (2, False, 3, {"validate": False}),
    (STEPS - 1, False, STEPS, {"validate": False}),
    (0, False, 1, {"accumulate_grad_batches": 2}),
    (1, False, 2, {"accumulate_grad_batches": 2}),
    (1, False, 2, {"accumulate_grad_batches": 2, "val_check_interval": 3}),
    (1, True, 2, {"accumulate_grad_batches": 2, "val_check_interval": 3}),
    (2, False, 3, {"batch_shapes": 2}),
    (STEPS, True, STEPS, {"check_val_every_n_epoch": 1, "limit_val_batches": 2}),
]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("step", "in_validation", "ends", "options"),
    [pytest.param(*ending, marks=pytest.mark.slow if i > 3 else ()) for i, ending in enumerate(ENDINGS)],
)
def test_a_signal_ends_training_after_a_whole_step_and_it_goes_on_as_if_nothing_had_been(
    in_one_go: Callable[..., OneGo],
    model: Path,
    squad: Path,
    tmp_path: Path,
    number: int,
    step: int,
    in_validation: bool,
    ends: int,
    options: Any,
) -> None:
    straight, _, whole = in_one_go(max_epochs=3, **options)
    before, after = Validations(), Validations()
    training = Training(model, squad, tmp_path / "run")
    with pytest.raises(SystemExit):
        training.fit(before, Send(number, step, in_validation=in_validation), max_epochs=3, **options)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert training.step("last") == ends
    assert same(training.fit(after, resume=True, max_epochs=3, **options), straight)
    assert before.steps + after.steps == whole.steps
    assert after.batches == whole.batches[len(before.steps) :]


def test_a_second_ctrl_c_ends_training_at_once_and_keeps_what_was_saved(training: Training) -> None:
    class Twice(pl.Callback):
        def on_before_zero_grad(self, trainer: pl.Trainer, *_: Any) -> None:
            if trainer.global_step == STEPS + 2:
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)
                raise AssertionError("went on")

    with pytest.raises(SystemExit):
        training.fit(Twice(), max_epochs=3)
    assert training.step("last") == STEPS


class Killed(Exception):  # noqa: N818
    """Stands for a SIGKILL: nothing is saved."""


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"validate": False}, {"val_check_interval": 2}])
@pytest.mark.parametrize("step", [1, 2, 3, STEPS, STEPS + 1])
def test_a_state_saved_every_step_validates_what_is_left(
    in_one_go: Callable[..., OneGo], model: Path, squad: Path, tmp_path: Path, step: int, options: dict[str, Any]
) -> None:
    straight, _, whole = in_one_go(max_epochs=2, **options)
    for in_validation in [False] if options.get("validate") is False else [False, True]:
        before, after = Validations(), Validations()
        training = Training(model, squad, tmp_path / f"run-{in_validation}")
        stop = StopAt(Killed(), step, in_validation=in_validation)
        with pytest.raises(Killed):
            training.fit(before, stop, RunCheckpoint(every_n_train_steps=1), max_epochs=2, **options)
        if (training.checkpoints / "last.ckpt").is_file():
            assert same(training.fit(after, resume=True, max_epochs=2, **options), straight)
            assert after.steps == whole.steps[len(whole.steps) - len(after.steps) :]
            assert {*before.steps, *after.steps} == {*whole.steps}


def test_training_goes_on_from_the_best_epoch(training: Training) -> None:
    """Which was saved in an epoch's last validation, when all its batches were trained."""
    whole, after = Batches(), Batches()
    training.fit(whole, f1=(10.0, 20.0, 5.0), max_epochs=3)
    training.fit(after, f1=(30.0,), max_epochs=3, resume=training.checkpoints / "best.ckpt")
    assert after.ids == whole.ids[2 * STEPS :]


def test_training_with_early_stopping_goes_on(training: Training) -> None:
    def early() -> EarlyStopping:
        return EarlyStopping("val/f1", mode="max", patience=2)

    training.fit(early(), f1=(30.0, 20.0), max_epochs=2)
    stopped = early()
    training.fit(stopped, f1=(25.0, 40.0), max_epochs=9, resume=True)
    assert training.step("last") == 3 * STEPS  # the second epoch without a better score was the first of two
    assert training.step("best") == STEPS
    assert stopped.best_score == 30


@pytest.mark.parametrize("moved", [False, True])
def test_training_that_goes_on_knows_the_best_score(training: Training, tmp_path: Path, moved: bool) -> None:
    training.fit(f1=(30.0, 10.0))
    if moved:
        shutil.move(training.run, tmp_path / "moved")
        training = Training(training.model, training.squad, tmp_path / "moved")
    training.fit(f1=(20.0,), max_epochs=3, resume=True)
    assert training.step("best") == STEPS
    assert training.step("last") == 3 * STEPS
    training.fit(f1=(40.0,), max_epochs=4, resume=True)
    assert training.step("best") == 4 * STEPS


def test_a_last_state_saved_before_a_validation_is_saved_again_after_it(training: Training) -> None:
    training.fit(RunCheckpoint(every_n_train_steps=STEPS), f1=(30.0,), max_epochs=1)
    training.fit(f1=(20.0,), max_epochs=2, resume=True)
    assert training.step("best") == STEPS


def test_training_that_goes_on_elsewhere_has_a_best_of_its_own(training: Training, tmp_path: Path) -> None:
    training.fit(f1=(30.0, 40.0))
    other = Training(training.model, training.squad, tmp_path / "other")
    other.fit(f1=(20.0, 10.0), max_epochs=4, resume=training.checkpoints / "last.ckpt")
    assert other.step("best") == 3 * STEPS
    assert other.step("last") == 4 * STEPS
    assert training.step("best") == 2 * STEPS


# A signal from outside

SCRIPT = """
import signal, sys, warnings
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background may have it ignored
from qa_lightning.callbacks.checkpoint import RunCheckpoint
from qa_lightning.callbacks.results import Results
from tests.training import make_data, make_module, make_trainer
model, squad, run = map(Path, sys.argv[1:])
trainer = make_trainer(run, RunCheckpoint(), Results(), max_epochs=100_000)
trainer.fit(make_module(model), make_data(model, train=squad, validation_file=str(squad)))
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_a_usable_run(training: Training, number: signal.Signals) -> None:
    process = forked.Forked(["-c", SCRIPT, training.model, training.squad, training.run])
    try:
        for _ in itertools.takewhile(lambda _: process.poll() is None, range(6000)):
            if (training.checkpoints / "best.ckpt").is_file():
                break
            time.sleep(0.01)
        process.send_signal(number)
        process.communicate(60)
    finally:
        process.kill()
        process.wait()
    # Lightning's SIGTERMException is a SystemExit without a status, to which the command line gives one.
    assert process.returncode == (1 if number == signal.SIGINT else 0)
    assert training.names() == ["best.ckpt", "last.ckpt"]
    assert training.step("last") >= training.step("best") > 0
    restored = QALightningModule.load_from_checkpoint(training.checkpoints / "last.ckpt")
    assert all(parameter.isfinite().all() for parameter in restored.parameters())
    assert {path.name for path in training.run.iterdir()} >= {"best_model", "checkpoints", "metrics.json"}
    assert not list(training.run.rglob(".*"))  # nothing half-written

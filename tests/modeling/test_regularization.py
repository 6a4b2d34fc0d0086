"""Regularisers in trainings: whatever the network, precision and number of processes, stopped and resumed."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
import yaml
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor

from qa_lightning.cli.main import main
from qa_lightning.modeling.module import QALightningModule
from qa_lightning.modeling.regularization import Regularization
from qa_lightning.records import Batch
from qa_lightning.utils.errors import UserError
from tests.commands import check_refused_before_data, check_two_processes
from tests.modeling.families import CONFIGS, config
from tests.modeling.test_module import make_batch
from tests.tiny import fit_arguments, tiny_tokenizer, write_squad
from tests.training import NO_DROPOUT, SETTINGS, Watch, make_data, make_module, make_trainer, trains
from tests.waits import Waits

pytestmark = trains

ALL = {"r_drop": 1.0, "fgm": 0.5, "fgm_radius": 0.3, "awp": 0.5, "awp_radius": 0.02}
ALL |= {"smart": 50.0, "smart_radius": 0.02, "smart_step": 0.02}
"""Every regulariser, so strong that each shows in a tiny network."""

NAMES = ("r_drop", "fgm", "awp", "smart")


def some_batch() -> Batch:
    return make_batch(starts=[[5], [-1], [7]], ends=[[6], [-1], [7]], lengths=[8, 10, 8])


def step(module: QALightningModule, batch: Batch) -> tuple[dict[str, float], Tensor]:
    """What a training step logs, and its gradients."""
    logged: dict[str, float] = {}
    module.log = lambda name, value, **_: logged.update({name: value.item()})  # type: ignore[method-assign]
    module.zero_grad()
    torch.manual_seed(0)
    loss = module.training_step(batch, 0)
    loss.backward()
    logged["sum"] = loss.item()
    return logged, torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


def train(folder: Path, squad: Path, **options: Any) -> list[dict[str, float]]:
    """What is logged in four steps of training."""
    pl.seed_everything(5, verbose=False)
    module = make_module(folder, regularization=Regularization(**ALL))
    seen = Watch(lambda trainer, _: {name: float(value) for name, value in trainer.callback_metrics.items()})
    make_trainer(folder, seen, max_steps=4, **options).fit(module, make_data(folder, train=squad))
    return seen.seen


# Networks


@pytest.mark.parametrize("family", CONFIGS)
def test_every_family_of_networks(family: str, tmp_path: Path) -> None:
    made = config(family)
    made.initializer_range = made.init_std = 0.3
    made.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    torch.manual_seed(0)
    options = {"version_2_with_negative": False, "regularization": Regularization(**ALL)}
    module = make_module(None, config_name=str(tmp_path), tokenizer_name=str(tmp_path), **options)
    before = {name: weights.clone() for name, weights in module.state_dict().items()}
    logged, gradients = step(module, some_batch())
    assert gradients.isfinite().all()
    assert logged["train/r_drop"] == pytest.approx(0, abs=1e-5)  # no dropout
    assert 0.5 * logged["train/loss"] < logged["train/fgm"]  # the loss is higher there
    assert 0.5 * logged["train/loss"] < logged["train/awp"]
    assert logged["train/smart"] > 0
    assert logged["sum"] == pytest.approx(sum(logged[f"train/{name}"] for name in ("loss", *NAMES)), rel=1e-5)
    for name, weights in module.state_dict().items():
        assert weights.equal(before[name]), name


def test_each_raises_what_it_is_meant_to_lower(folder: Path) -> None:
    batch = some_batch()

    def logged(**values: float) -> dict[str, float]:
        module = make_module(folder, config_overrides=NO_DROPOUT, regularization=Regularization(**values))
        return step(module, batch)[0]

    for name, radius in (("fgm", "fgm_radius"), ("awp", "awp_radius"), ("smart", "smart_radius")):
        little, more = (logged(**{name: 1.0, radius: size, "smart_step": 1.0})[f"train/{name}"] for size in (0.01, 0.1))
        assert little < more, name
    assert logged(r_drop=1.0)["train/r_drop"] == pytest.approx(0, abs=1e-6)
    with_dropout = step(make_module(folder, regularization=Regularization(r_drop=1.0)), batch)[0]
    assert with_dropout["train/r_drop"] > 0.1


@pytest.mark.parametrize("options", [{"packing": True}, {"attn_implementation": "eager"}], ids=["packed", "eager"])
def test_packing_and_attention_change_nothing(folder: Path, options: dict[str, Any]) -> None:
    # Without SMART's part, whose noise is drawn in the shape of the input.
    values = {name: value for name, value in ALL.items() if not name.startswith("smart")}
    plain, other = (
        make_module(folder, config_overrides=NO_DROPOUT, regularization=Regularization(**values), **more)
        for more in ({}, options)
    )
    batch = some_batch()
    logged, gradients = step(plain, batch)
    batch.row_tokens = 32 if "packing" in options else None
    others, other_gradients = step(other, batch)
    assert others == pytest.approx(logged, rel=1e-4, abs=1e-6)
    torch.testing.assert_close(other_gradients, gradients, rtol=1e-3, atol=1e-5)


def test_gradient_checkpointing_changes_nothing(folder: Path) -> None:
    values = ALL | {"awp": 0.0}
    plain, other = (
        make_module(folder, regularization=Regularization(**values), gradient_checkpointing=checkpointing)
        for checkpointing in (False, True)
    )
    logged, gradients = step(plain, some_batch())
    others, other_gradients = step(other, some_batch())
    assert logged["train/r_drop"] > 0.1  # the same dropout, too
    assert others == pytest.approx(logged, rel=1e-5)
    torch.testing.assert_close(other_gradients, gradients, rtol=1e-4, atol=1e-5)


def test_no_regulariser_has_the_host_wait_for_a_gpu(folder: Path) -> None:
    # Dropout and transformers' masks of padding wait on a CPU only.
    module = make_module(folder, packing=True, config_overrides=NO_DROPOUT, regularization=Regularization(**ALL))
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    module._training_has_begun = False  # whether a loss is finite is seen later on a GPU
    batch = replace(some_batch(), row_tokens=32)
    with Waits() as waits:
        module.training_step(batch, 0).backward()
    assert waits.seen == []


# Trainings


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "bf16-true"])
def test_each_term_is_logged(folder: Path, squad: Path, precision: str) -> None:
    for metrics in train(folder, squad, precision=precision):
        assert {f"train/{name}" for name in NAMES} < set(metrics)
        assert all(torch.tensor(value).isfinite() and value != 0 for value in metrics.values())


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_half_precision_stays_close(folder: Path, squad: Path, precision: str) -> None:
    def options() -> dict[str, Any]:
        if precision == "bf16-mixed":
            return {"precision": precision}
        scaler: Any = torch.amp.GradScaler("cpu")
        return {"plugins": [MixedPrecision("16-mixed", device="cpu", scaler=scaler)]}

    half, single = train(folder, squad, **options()), train(folder, squad)
    for step, expected in zip(half, single, strict=True):
        for name in ("loss", *NAMES):
            assert step[f"train/{name}"] == pytest.approx(expected[f"train/{name}"], rel=0.2), name


def test_accumulated_gradients_are_those_of_the_batches(folder: Path, squad: Path) -> None:
    """Two batches that make a step give the mean of their gradients, each with adversaries of its own."""
    module = make_module(folder, config_overrides=NO_DROPOUT, regularization=Regularization(**ALL | {"smart": 0.0}))
    data = make_data(folder, train=squad)
    pl.seed_everything(5, verbose=False)
    found: list[Tensor] = []

    class Keep(pl.Callback):
        def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: Any, optimizer: Any) -> None:
            found.append(torch.cat([p.grad.flatten() for p in pl_module.parameters() if p.grad is not None]))

    class Batches(pl.Callback):
        seen: list[Batch] = []  # noqa: RUF012 - of the one training below

        def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Batch, batch_idx: int) -> None:
            self.seen.append(batch)

    make_trainer(folder, Keep(), Batches(), max_steps=1, accumulate_grad_batches=2).fit(module, data)
    fresh = make_module(folder, config_overrides=NO_DROPOUT, regularization=Regularization(**ALL | {"smart": 0.0}))
    apart = [step(fresh, batch)[1] for batch in Batches.seen]
    assert len(apart) == 2
    torch.testing.assert_close(found[0], sum(apart) / 2, rtol=1e-4, atol=1e-6)


# Settings


@pytest.mark.parametrize("name", list(ALL))
def test_what_is_below_zero(name: str) -> None:
    with pytest.raises(UserError, match=rf"^regularization\.{name} must be at least 0, not -1"):
        make_module("nowhere", tokenizer_name=None, regularization=Regularization(**{name: -1.0}))


def test_nothing_is_added_by_default(folder: Path) -> None:
    module = make_module(folder)
    assert module.loss_terms == ()
    assert make_module(folder, regularization=Regularization(fgm_radius=2.0)).loss_terms == ()
    with pytest.raises(UserError, match=r"^regularization\.awp does not work with gradient_checkpointing"):
        make_module(folder, regularization=Regularization(awp=1.0), gradient_checkpointing=True)


# Whole commands


@pytest.fixture(scope="module")
def command(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A training with every regulariser, AWP from the second epoch on, but for its folder and length."""
    files = tmp_path_factory.mktemp("whole")
    squad = str(write_squad(files / "squad.json", copies=2))
    (files / "regularized.yaml").write_text(
        yaml.safe_dump({"model": {"regularization": ALL | {"awp_start_epoch": 1}, "lr_scheduler_type": "constant"}})
    )
    first, *others = fit_arguments(str(folder), squad, squad)
    return [first, "--config", str(files / "regularized.yaml"), *others, "--model.learning_rate", "0.01"]


@pytest.fixture(scope="module")
def whole(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs of three steps in one go."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    assert main([*command, "--trainer.max_epochs", "2", "--run_dir", str(run)]) == 0
    return run


def test_a_run_keeps_its_section_and_its_curves(whole: Path) -> None:
    kept = yaml.safe_load((whole / "config.yaml").read_text())["model"]["init_args"]["regularization"]
    assert kept == ALL | {"awp_start_epoch": 1}
    (path,) = whole.rglob("metrics.csv")
    header, *rows = path.read_text().splitlines()
    curves = {name: [row.split(",")[header.split(",").index(f"train/{name}")] for row in rows] for name in NAMES}
    numbers = {name: [float(value) for value in values if value] for name, values in curves.items()}
    assert {name: len(values) for name, values in numbers.items()} == dict.fromkeys(NAMES, 6)
    assert numbers["awp"][:3] == [0, 0, 0]
    assert min(numbers["awp"][3:]) > 0
    assert min(numbers["fgm"] + numbers["smart"]) > 0


def test_a_checkpoint_makes_the_same_module_again(whole: Path) -> None:
    module = QALightningModule.load_from_checkpoint(whole / "checkpoints/last.ckpt")
    assert module.loss_terms == Regularization(**ALL, awp_start_epoch=1).loss_terms()
    assert [term.name for term in module.loss_terms] == list(NAMES)
    assert pickle.loads(pickle.dumps(module.loss_terms)) == module.loss_terms
    assert module.hparams["regularization"] == ALL | {"awp_start_epoch": 1}


def test_a_training_that_was_stopped_in_mid_epoch_ends_with_the_same_weights(
    command: list[str], whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert main([*command, "--trainer.max_epochs", "2", "--trainer.max_steps", "4", "--run_dir", str(run)]) == 0
    assert main(["fit", "--run_dir", str(run), "--ckpt_path", "last", "--trainer.max_steps", "6"]) == 0
    ours, theirs = (
        torch.load(path / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for path in (run, whole)
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model.regularization.r_drop", "-1"], "regularization.r_drop must be at least 0, not -1.0"),
        (["--model.regularization.awp", ".inf"], "regularization.awp must be finite, not inf"),
        (
            ["--model.regularization.awp", "1", "--model.gradient_checkpointing", "true"],
            "regularization.awp does not work with gradient_checkpointing",
        ),
    ],
)
def test_mistakes_end_before_data_are_read(
    folder: Path, tmp_path: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    check_refused_before_data(folder, flags, message, tmp_path / "run", capsys)


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_with_two_batches_a_step(folder: Path, squad: Path, tmp_path: Path) -> None:
    values = ALL | {"smart": 0.0}  # whose noise each process draws for itself
    flags = [item for name, value in values.items() for item in (f"--model.regularization.{name}", str(value))]
    settings = [item for key, value in SETTINGS.items() for item in (f"--data.{key}", str(value).lower())]
    dropout = [item for key in NO_DROPOUT for item in (f"--model.config_overrides.{key}", "0.0")]
    arguments = [*fit_arguments(str(folder), str(squad), str(squad)), *settings, *flags, *dropout]
    check_two_processes([*arguments, "--data.batch_size", "20"], tmp_path)

"""The loss of each training set: by hand, and in trainings of several sets, stopped, resumed and on two processes."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, tensor

from qa_lightning.cli.main import main
from qa_lightning.modeling.set_losses import SetLosses
from tests.commands import check_two_processes
from tests.modeling.test_module import make_batch
from tests.tiny import fit_arguments, write_squad
from tests.training import NO_DROPOUT, trains, write_long
from tests.waits import Waits

pytestmark = trains


def trainer(step: int, every: int = 2) -> Any:
    """A trainer after a step; two processes have the same sums."""
    strategy = SimpleNamespace(reduce=lambda sums, reduce_op: 2 * sums)
    return SimpleNamespace(global_step=step, log_every_n_steps=every, strategy=strategy)


def test_means_by_hand() -> None:
    losses, batch = SetLosses(), make_batch(starts=[[5], [-1], [7]], ends=[[6], [-1], [7]], lengths=[8, 10, 8])
    batch.sets = {"a": 2, "b": 0, "c": 1}
    labelled = tensor([True, False, True])
    losses.add(batch, tensor([3.0, 0.0, 5.0]), labelled, 0)
    assert losses.take(trainer(0)) == {}  # gradients are accumulated
    losses.add(batch, tensor([1.0, 0.0, 9.0]), labelled, 0)
    assert losses.take(trainer(1)) == {}
    batch.sets = {"a": 3, "b": 0, "c": 0}
    losses.add(batch, tensor([2.0, 0.0, 4.0]), labelled, 1)
    assert losses.take(trainer(2)) == pytest.approx({"a": (3 + 1 + 2 + 4) / 4, "c": 7.0})
    assert losses.take(trainer(2)) == {}
    losses.add(batch, tensor([2.0, 0.0, 0.0]), labelled, 3)
    assert losses.take(trainer(4)) == {"a": 1.0}
    losses.add(batch, tensor([2.0, 0.0, 0.0]), labelled, 5)
    assert losses.take(trainer(6, every=0)) == {}


def test_nothing_is_computed_for_one_set_and_nobody_waits_for_several() -> None:
    losses, batch = SetLosses(), make_batch(starts=[[5], [7]], ends=[[6], [7]], lengths=[8, 8])

    class Untouched:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(name)

    untouched: Any = Untouched()
    losses.add(batch, untouched, untouched, 0)
    batch.sets = {"a": 1, "b": 1}
    values, labelled = torch.rand(2, requires_grad=True), torch.ones(2, dtype=torch.bool)
    with Waits() as waits:
        losses.add(batch, values, labelled, 0)
        losses.add(batch, values, labelled, 0)
    assert waits.seen == []
    assert losses._sums is not None
    assert not losses._sums.requires_grad


# Whole commands


@pytest.fixture(scope="module")
def command(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A training on two sets, whose weights change in the second epoch, but for its folder and length."""
    files = tmp_path_factory.mktemp("mixing")
    short, long = write_squad(files / "short.json", copies=2), write_long(files / "long.json", copies=3)
    data = {
        "train_sets": {"short": {"file": str(short), "weight": 2.0}, "long": {"file": str(long)}},
        "mixing": {"epoch_windows": 18, "curriculum": {1: {"short": 1.0, "long": 5.0}}},
        "null_windows": 0.4,
        "version_2_with_negative": True,
        "train_file": None,
    }
    model = {"lr_scheduler_type": "constant", "learning_rate": 0.01}
    (files / "mixing.yaml").write_text(yaml.safe_dump({"model": model, "data": data}, sort_keys=False))
    arguments = fit_arguments(str(folder), "", str(short))
    where = arguments.index("--data.train_file")
    del arguments[where : where + 2]
    return [*arguments, "--config", str(files / "mixing.yaml"), "--data.max_length", "20", "--data.doc_stride", "2"]


@pytest.fixture(scope="module")
def whole(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs of five steps in one go."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    assert main([*command, "--trainer.max_epochs", "2", "--run_dir", str(run)]) == 0
    return run


def curve(run: Path, name: str) -> dict[int, float]:
    """A curve of a run's ``metrics.csv``, by step."""
    (path,) = run.rglob("metrics.csv")
    with path.open(newline="") as file:
        return {int(row["step"]): float(row[name]) for row in csv.DictReader(file) if row.get(name)}


def weights(run: Path) -> dict[str, Tensor]:
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]  # type: ignore[no-any-return]


def test_a_run_says_what_it_was_trained_on(whole: Path) -> None:
    reports = json.loads((whole / "data.json").read_text())
    assert reports["train/short"]["windows_per_epoch"] == {"0": 12, "1": 3}
    assert reports["train/long"]["windows_per_epoch"] == {"0": 6, "1": 15}
    kept = yaml.safe_load((whole / "config.yaml").read_text())["data"]["init_args"]
    assert kept["train_sets"]["short"]["weight"] == 2.0
    assert kept["mixing"]["curriculum"] == {1: {"short": 1.0, "long": 5.0}}
    curves = {name: curve(whole, f"train/loss/{name}") for name in ("short", "long")}
    assert curves["short"].keys() | curves["long"].keys() == curve(whole, "train/loss").keys() == set(range(10))
    for step, loss in curve(whole, "train/loss").items():
        of_sets = [values[step] for values in curves.values() if step in values]
        assert min(of_sets) * (1 - 1e-5) <= loss <= max(of_sets) * (1 + 1e-5)  # a mean of both


def test_a_training_that_was_stopped_in_mid_epoch_ends_with_the_same_weights(
    command: list[str], whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert main([*command, "--trainer.max_epochs", "2", "--trainer.max_steps", "7", "--run_dir", str(run)]) == 0
    assert main(["fit", "--run_dir", str(run), "--ckpt_path", "last", "--trainer.max_steps", "10"]) == 0
    assert all(torch.equal(weights(run)[name], values) for name, values in weights(whole).items())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data.train_file", "nothing.json"], "data.train_sets and data.train_file both say what to train on"),
        (["--data.train_sets.long.weight", "-1"], "data.train_sets: the weight of long must be at least 0, not -1.0"),
        (["--data.mixing.curriculum", "{2: {xx: 1}}"], "no training set is called 'xx'; there are short, long"),
        (["--data.mixing.temperature", "0"], "data.mixing.temperature must be above 0 and finite, not 0.0"),
        (["--data.train_sets.more.split", "train"], "data.train_sets.more names no data"),
    ],
)
def test_mistakes_end_before_data_are_read(
    command: list[str], tmp_path: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, *flags, "--run_dir", str(tmp_path / "run")]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert "Traceback" not in printed
    assert "questions" not in printed


@pytest.mark.parametrize("flags", [["--model.packing", "true", "--data.tokens_per_batch", "60"]])
def test_sets_of_packed_batches_and_few_shapes(command: list[str], tmp_path: Path, flags: list[str]) -> None:
    run = tmp_path / "run"
    assert main([*command, *flags, "--trainer.limit_val_batches", "0", "--run_dir", str(run)]) == 0
    assert len(curve(run, "train/loss/short")) > 1


@pytest.mark.slow
def test_two_processes_learn_and_log_what_one_does_with_two_batches_a_step(command: list[str], tmp_path: Path) -> None:
    dropout = [item for key in NO_DROPOUT for item in (f"--model.config_overrides.{key}", "0.0")]
    runs = check_two_processes([*command, *dropout, "--data.batch_size", "9"], tmp_path)
    for name in ("train/loss/short", "train/loss/long"):
        found = [list(curve(run, name).values()) for run in runs]
        assert len(found[0]) == 3
        assert found[1] == pytest.approx(found[0], rel=1e-4)

"""One command line, given again and again, goes on where there is a checkpoint and begins where there is none."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
import yaml

from qa_lightning.callbacks.checkpoint import RunCheckpoint
from qa_lightning.cli.main import main
from qa_lightning.utils.locks import sole_user
from tests.tiny import fit_arguments, tiny_folder, write_squad

STEPS = 6
"""Of an epoch."""


class Signalled(pl.Callback):
    """Sends a signal in the middle of a batch.

    Args:
        number: The signal.
        step: After so many steps.
    """

    def __init__(self, number: int, step: int) -> None:
        self.number = number
        self.step = step

    def on_before_zero_grad(self, trainer: pl.Trainer, *_: Any) -> None:
        """Sends it."""
        if trainer.global_step == self.step:
            signal.raise_signal(self.number)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_folder(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def squad(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_squad(tmp_path_factory.mktemp("data") / "squad.json", copies=4))


@pytest.fixture(scope="module")
def command(model: str, squad: str) -> list[str]:
    """The command line, but for its folder."""
    return [*fit_arguments(model, squad, squad), "--trainer.max_epochs", "2", "--ckpt_path", "last"]


@pytest.fixture(scope="module")
def whole(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in one go, in a folder that was not there."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    assert main([*command, "--run_dir", str(run)]) == 0
    return run


def weights(run: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]


def assert_same(run: Path, whole: Path) -> None:
    """The weights, scores and answers of two runs are the same."""
    one, other = weights(run), weights(whole)
    assert all(torch.equal(one[name], other[name]) for name in one)
    for name in ("metrics.json", "predictions.json", "nbest_predictions.json"):
        assert json.loads((run / name).read_text()) == json.loads((whole / name).read_text())
    assert (run / "best_model/model.safetensors").read_bytes() == (whole / "best_model/model.safetensors").read_bytes()
    assert not [path for path in run.rglob(".*") if path.name != ".lock"]


def test_what_becomes_of_it_is_said_in_a_line(
    command: list[str], whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--run_dir", str(tmp_path / "run")]) == 0
    assert f"no checkpoint in {tmp_path / 'run'} yet: training starts from the beginning\n" in capsys.readouterr().out
    assert_same(tmp_path / "run", whole)
    assert not (tmp_path / "run/.lock").exists()


def test_a_finished_run_ends_quietly_and_keeps_its_scores(command: list[str], whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "run")
    assert main([*command, "--run_dir", str(tmp_path / "run")]) == 0
    assert_same(tmp_path / "run", whole)


def test_a_run_killed_before_its_first_checkpoint(command: list[str], whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    shutil.rmtree(run / "checkpoints")
    shutil.rmtree(run / "best_model")
    (run / ".lock").touch()
    (run / "checkpoints").mkdir()
    (run / "checkpoints/.best.ckpt-abcd1234").write_text("half")
    (run / ".best_model-abcd1234/new").mkdir(parents=True)
    (run / ".parts").mkdir()
    shutil.copytree(run, tmp_path / "afresh")
    assert main([*command, "--run_dir", str(run)]) == 0
    assert_same(run, whole)
    without = [part for part in command if part not in ("--ckpt_path", "last")]
    assert main([*without, "--run_dir", str(tmp_path / "afresh"), "--model.weight_decay", "0.5"]) == 0
    assert yaml.safe_load((tmp_path / "afresh/config.yaml").read_text())["model"]["init_args"]["weight_decay"] == 0.5
    assert not list((tmp_path / "afresh").rglob(".*"))


def test_a_run_killed_between_its_two_checkpoints(command: list[str], whole: Path, tmp_path: Path) -> None:
    """The best is there, the last is not."""
    run = tmp_path / "run"
    assert main([*command, "--run_dir", str(run), "--trainer.max_epochs", "1"]) == 0
    (run / "checkpoints/last.ckpt").unlink()
    assert main([*command, "--run_dir", str(run), "--trainer.max_epochs", "1"]) == 0
    assert len(weights(run)) == len(weights(run, "best"))
    assert main([*command, "--run_dir", str(run)]) == 0


def test_settings_of_a_config_are_those_of_a_run_that_begins(
    model: str, squad: str, whole: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    shutil.copy(whole / "config.yaml", config)
    for _ in range(2):
        assert main(["fit", "--config", str(config), "--run_dir", str(tmp_path / "run"), "--ckpt_path", "last"]) == 0
    assert_same(tmp_path / "run", whole)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_with_its_status_and_training_goes_on(
    command: list[str],
    whole: Path,
    tmp_path: Path,
    number: int,
    status: int,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """By the very command that it ends with."""
    before, run = signal.getsignal(signal.SIGINT), tmp_path / "run"
    stop = ["--trainer.callbacks", "tests.runs.test_resume.Signalled", "--trainer.callbacks.number", str(int(number))]
    try:
        status_of_it = main([*command, "--run_dir", str(run), *stop, "--trainer.callbacks.step", str(STEPS + 1)])
        assert status_of_it == status
        assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["global_step"] == STEPS + 2
        said = capfd.readouterr().err
        assert "graceful shutdown" not in said
        *_, line, next_command = said.splitlines()
        assert line == "Go on with:"
        python, m, package, *arguments = shlex.split(next_command)
        assert (python, m, package) == ("python", "-m", "qa_lightning")
        assert arguments[-2:] == ["--ckpt_path", "last"]
        assert main(arguments) == 0  # the step of the signal is behind it
        assert "Go on with" not in capfd.readouterr().err
    finally:
        signal.signal(signal.SIGINT, before)
    assert_same(run, whole)


def test_a_second_fit_in_one_folder_is_refused(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with sole_user(tmp_path / "run"):
        assert main([*command, "--run_dir", str(tmp_path / "run")]) in (1, 2)
        assert capsys.readouterr().err.count(f"error: {tmp_path / 'run'}: another process is writing") == 1
        assert os.listdir(tmp_path / "run") == [".lock"]


def test_a_full_disk_ends_in_a_line(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where it is a library's file that does not fit."""

    def fail(self: Any, *_: Any) -> None:
        raise OSError(28, "No space left on device", "logs/metrics.csv")

    monkeypatch.setattr(RunCheckpoint, "on_train_epoch_end", fail)
    assert main([*command, "--run_dir", str(tmp_path / "run")]) in (1, 2)
    assert "error: logs/metrics.csv: cannot be written: No space left on device" in capsys.readouterr().err

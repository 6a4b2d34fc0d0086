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
from qa_lightning.runs.folder import RunFolder
from qa_lightning.runs.resume import resolve_checkpoint
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
    found, expected = weights(run), weights(whole)
    assert all(torch.equal(found[name], expected[name]) for name in found)
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
    try:
        assert main([*command, "--run_dir", str(run), *signalled(number, STEPS + 1)]) == status
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


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Has this process be a job of Slurm, and returns the file of what its ``scontrol`` was called with."""
    called = tmp_path / "called"
    scontrol = tmp_path / "bin/scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {called}\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{scontrol.parent}{os.pathsep}{os.environ['PATH']}")
    names = ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_STEP_ID")
    for name, value in {"SLURM_NTASKS": "1", "SLURM_JOB_ID": "4242", "SLURM_JOB_NAME": "training"}.items():
        monkeypatch.setenv(name, value)
    for name in names:
        monkeypatch.setenv(name, "0")
    return called


def signalled(number: int, step: int) -> list[str]:
    """Flags of a callback that sends a signal after a step."""
    place = "--trainer.callbacks"
    return [place, "tests.runs.test_resume.Signalled", f"{place}.number", str(int(number)), f"{place}.step", str(step)]


@pytest.mark.parametrize("flags", [(), ("--ckpt_path", "last")])
def test_a_requeued_job_goes_on_by_the_same_command(
    command: list[str],
    whole: Path,
    tmp_path: Path,
    job: Path,
    flags: tuple[str, ...],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """With Lightning's checkpoint, which is that of a whole step, and no other run in the folder is overwritten."""
    run, before = tmp_path / "run", signal.getsignal(signal.SIGUSR1)
    same = [part for part in command if part not in ("--ckpt_path", "last")]
    same += [*flags, "--run_dir", str(run), *signalled(signal.SIGUSR1, STEPS + 1)]
    assert main(same) == 143
    assert signal.getsignal(signal.SIGUSR1) == before
    assert "Unless Slurm requeues the job, go on with (by srun, as before):" in capfd.readouterr().err
    assert job.read_text() == "requeue 4242\n"
    assert torch.load(run / "hpc_ckpt_1.ckpt", weights_only=True)["global_step"] == STEPS + 2
    assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["global_step"] == STEPS
    assert main(same) == 0  # goes on behind the step of the signal
    assert not list(run.glob("hpc_ckpt_*"))
    assert job.read_text() == "requeue 4242\n"
    assert_same(run, whole)
    if not flags:
        assert main(same) == 2
        assert "holds a run already" in capfd.readouterr().err


def test_a_job_that_slurm_started_again_without_a_word_goes_on(
    command: list[str], whole: Path, tmp_path: Path, job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a node failed, or SIGTERM to make room."""
    run, before = tmp_path / "run", signal.getsignal(signal.SIGINT)
    same = [part for part in command if part not in ("--ckpt_path", "last")]
    same += ["--run_dir", str(run), *signalled(signal.SIGTERM, STEPS + 1)]
    try:
        assert main(same) == 143
        assert main(same) == 2  # by hand, one says so
        monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
        assert main(same) == 0
    finally:
        signal.signal(signal.SIGINT, before)
    assert not job.exists()
    assert_same(run, whole)


def test_the_newest_state_is_gone_on_with(command: list[str], whole: Path, tmp_path: Path) -> None:
    run = RunFolder(Path(shutil.copytree(whole, tmp_path / "run")))
    for number in (2, 10):
        shutil.copy(run.last_checkpoint, run.path / f"hpc_ckpt_{number}.ckpt")
    os.utime(run.last_checkpoint, (1, 1))
    assert resolve_checkpoint("last", str(run.path), "fit") == str(run.path / "hpc_ckpt_10.ckpt")
    os.utime(run.path / "hpc_ckpt_10.ckpt", (0, 0))
    assert resolve_checkpoint("last", str(run.path), "fit") == str(run.last_checkpoint)
    assert resolve_checkpoint(None, str(run.path), "validate") == str(run.best_checkpoint)


def test_a_job_without_a_folder_of_its_own_is_warned(job: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert resolve_checkpoint(None, None, "fit") is None
    assert "a requeued job of Slurm goes on only where --run_dir names its folder" in capsys.readouterr().out

"""Whole commands: in processes of their own, by one process and by two, and such as must be refused."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from qa_lightning.cli.main import main
from tests import forked
from tests.conftest import ROOT
from tests.tiny import fit_arguments


def run_command(*arguments: str) -> None:
    """Runs a whole command, as DDP does again for each of its processes."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = forked.run(["-m", "qa_lightning", *arguments], env=environment, timeout=240)
    assert done.returncode == 0, done.stderr


def last_checkpoint(run: Path) -> dict[str, Any]:
    """The last state of a training."""
    checkpoint: dict[str, Any] = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    return checkpoint


def check_two_processes(
    arguments: list[str], folder: Path, more: Callable[[Path], list[str]] = lambda run: []
) -> tuple[Path, Path]:
    """Trains three epochs with SGD by one process and by two, which must end in the same weights.

    Each epoch is one step of two batches, in whatever order: those of two processes, or two that are accumulated.

    Args:
        arguments: A training whose epochs have two batches, without dropout.
        folder: Where the folders of both runs are made.
        more: More arguments of a run, by its folder.

    Returns:
        The folders of the runs of one process and of two.
    """
    arguments = [*arguments, "--trainer.max_epochs", "3", "--trainer.limit_val_batches", "0"]
    arguments += ["--model.optimizer", "SGD", "--model.optimizer.lr", "0.1"]
    one, two = folder / "one", folder / "two"
    for run, processes in (
        (one, ["--trainer.accumulate_grad_batches", "2"]),
        (two, ["--trainer.strategy", "ddp", "--trainer.devices", "2"]),
    ):
        run_command(*arguments, *processes, *more(run), "--run_dir", str(run))
        assert last_checkpoint(run)["global_step"] == 3
    found = last_checkpoint(two)["state_dict"]
    for name, values in last_checkpoint(one)["state_dict"].items():
        torch.testing.assert_close(found[name], values, rtol=1e-3, atol=1e-5)
    return one, two


def check_refused_before_data(
    model: Path, flags: list[str], message: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Checks that a training ends in one line with this message, before it finds that its files are not there."""
    nothing = str(run.parent / "nothing.json")
    assert main([*fit_arguments(str(model), nothing, nothing), *flags, "--run_dir", str(run)]) == 2
    printed = capsys.readouterr().err
    assert f"error: {message}" in printed
    assert not re.search(r"Traceback|nothing\.json", printed)

"""Experiments whose trainings are processes that need not import torch again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from qa_lightning.experiments import commands
from tests import forked
from tests.training import SETTINGS


class Begun:
    """The commands that were begun, the last of their processes, and how many were at work at once, at most."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.last: forked.Forked | None = None
        self.most = 0
        self._processes: list[forked.Forked] = []

    def start(
        self,
        arguments: Sequence[str],
        output: IO[bytes],
        errors: IO[bytes] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> forked.Forked:
        """Starts a command as `commands.start` does."""
        self.commands.append(list(arguments))
        own = {**os.environ, **(environment or {})}
        self.last = forked.Forked(["-m", "qa_lightning", *arguments], env=own, cwd=Path.cwd(), stdout=output)
        self._processes.append(self.last)
        self.most = max(self.most, sum(process.poll() is None for process in self._processes))
        return self.last

    def fits(self) -> list[str]:
        """The folders of the trainings that were begun."""
        chosen = [command for command in self.commands if command[0] == "fit" and "--print_config" not in command]
        return [Path(command[command.index("--run_dir") + 1]).name for command in chosen]


@contextmanager
def forked_trainings() -> Iterator[Begun]:
    """Has experiments start forked processes."""
    found = Begun()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commands, "start", found.start)
        yield found


def short_training(model: Path, train: Path | None, validation: Path | None, *, epochs: int = 1) -> list[str]:
    """The flags of a short training of the tiny model on questions of `write_long`."""
    files = {"train_file": train, "validation_file": validation}
    return [
        *("--model.model_name_or_path", str(model), "--model.learning_rate", "1e-3"),
        *(item for name, path in files.items() if path for item in (f"--data.{name}", str(path))),
        *(item for name, value in SETTINGS.items() for item in (f"--data.{name}", str(value).lower())),
        *("--data.batch_size", "4", "--trainer.max_epochs", str(epochs), "--trainer.accelerator", "cpu"),
        *("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
        *("--trainer.log_every_n_steps", "1"),
    ]

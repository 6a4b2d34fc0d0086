"""The config of a run, as a file and in its loggers, and how the run was made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import yaml
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback

from qa_lightning.runs.folder import RunFolder
from qa_lightning.runs.run_info import Command, RunInfo, read_run_info, write_run_info
from qa_lightning.utils.files import whole_file
from qa_lightning.utils.secrets import hide_secrets


class SaveConfig(SaveConfigCallback):
    """Writes ``config.yaml`` and ``run.json`` into the run's folder and gives the whole config to the loggers.

    Args:
        parser: The parser that the config is of.
        config: What was asked for.
        command: The command that asks for it; None: that is not recorded.
        **options: Those of Lightning's callback.
    """

    def __init__(
        self, parser: LightningArgumentParser, config: Namespace, *, command: Command | None = None, **options: Any
    ) -> None:
        super().__init__(parser, config, **options)
        self.command = command

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Writes what was asked for; training that goes on keeps the config that it began with."""
        path = Path(trainer.default_root_dir, self.config_filename)
        if not trainer.is_global_zero or self.already_saved:
            return
        if self.overwrite or stage != "fit" or not path.exists():
            self.write(trainer)
        else:
            self._log(trainer)
            self._add_command(trainer)
        self.already_saved = True

    def write(self, trainer: pl.Trainer) -> None:
        """Writes the config as it is now."""
        folder = RunFolder(Path(trainer.default_root_dir))
        with whole_file(folder.path / self.config_filename) as unfinished:
            self.parser.save(self.config, str(unfinished), skip_none=False, overwrite=True)
        if self.command is not None:
            changed = self.parser.dump(self.config, skip_none=False, skip_default=True, skip_validation=True)
            write_run_info(folder, RunInfo([self.command], hide_secrets(yaml.safe_load(changed) or {})))
        self._log(trainer)

    def _add_command(self, trainer: pl.Trainer) -> None:
        """Adds the command by which training goes on to those before it."""
        folder = RunFolder(Path(trainer.default_root_dir))
        info = read_run_info(folder)
        if info is not None and self.command is not None:
            write_run_info(folder, RunInfo([*info.commands, self.command], info.changed_settings))

    def _log(self, trainer: pl.Trainer) -> None:
        for logger in trainer.loggers:
            logger.log_hyperparams(self.config.as_dict())

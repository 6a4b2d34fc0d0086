"""The config of a run, as a file and in its loggers."""

from __future__ import annotations

from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.cli import SaveConfigCallback

from qa_lightning.utils.files import whole_file


class SaveConfig(SaveConfigCallback):
    """Writes ``config.yaml`` into the run's folder and gives the whole of it to the loggers."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Writes what was asked for; training that goes on keeps the config that it began with."""
        path = Path(trainer.default_root_dir, self.config_filename)
        if not trainer.is_global_zero or self.already_saved:
            return
        if self.overwrite or stage != "fit" or not path.exists():
            self.write(trainer)
        else:
            self._log(trainer)
        self.already_saved = True

    def write(self, trainer: pl.Trainer) -> None:
        """Writes the config as it is now."""
        with whole_file(Path(trainer.default_root_dir, self.config_filename)) as unfinished:
            self.parser.save(self.config, str(unfinished), skip_none=False, overwrite=True)
        self._log(trainer)

    def _log(self, trainer: pl.Trainer) -> None:
        for logger in trainer.loggers:
            logger.log_hyperparams(self.config.as_dict())

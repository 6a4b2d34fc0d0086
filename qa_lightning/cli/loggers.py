"""Where the files of loggers go that a config names without a folder."""

from __future__ import annotations

import inspect
from typing import Any

from lightning.pytorch.loggers import Logger

FOLDER_OF_THE_RUN = "."
"""What ``save_dir`` of a logger is where it stands for the run's folder, which is chosen after parsing."""


def needs_folder(cls: Any) -> bool:
    """Whether a class is a logger that cannot be made without a ``save_dir``."""
    if not (inspect.isclass(cls) and issubclass(cls, Logger)):
        return False
    argument = inspect.signature(cls).parameters.get("save_dir")
    return argument is not None and argument.default is inspect.Parameter.empty


def place_loggers(trainer: Any, folder: str) -> None:
    """Puts the files of loggers that were given no folder into the run's.

    Args:
        trainer: The trainer's settings, in which loggers are not built yet.
        folder: The run's folder.
    """
    loggers = trainer.logger if isinstance(trainer.logger, list) else [trainer.logger]
    for logger in loggers:
        arguments = getattr(logger, "init_args", None)
        if arguments is not None and arguments.get("save_dir", folder) in (None, FOLDER_OF_THE_RUN):
            arguments.save_dir = folder

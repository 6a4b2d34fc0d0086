"""Logs the report's pictures to loggers that show pictures."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import lightning.pytorch as pl
from lightning.pytorch.loggers import WandbLogger

from qa_lightning.runs.questions import read_questions


def log_pictures(trainer: pl.Trainer, folder: Path) -> None:
    """Gives the pictures of an evaluation to Weights & Biases, where it is a logger, under ``report/NAME``.

    Args:
        trainer: Has the loggers.
        folder: Where the evaluation's files are.
    """
    loggers = [logger for logger in trainer.loggers if isinstance(logger, WandbLogger)]
    if not loggers:
        return
    from PIL import Image

    from qa_lightning.report.figures import draw_figures
    from qa_lightning.runs.history import read_curves, read_scores

    for logger in trainer.loggers:
        logger.save()  # the learning curves are drawn from a logger's file
    for name, figure in draw_figures(read_questions(folder), read_scores(folder), read_curves(folder)).items():
        file = io.BytesIO()
        with warnings.catch_warnings():
            # The font that comes with matplotlib lacks some scripts, and shows boxes for their letters.
            warnings.filterwarnings("ignore", "Glyph .* missing")
            figure.savefig(file, format="png", dpi=150)
        for logger in loggers:
            logger.log_image(f"report/{name}", [Image.open(file)])

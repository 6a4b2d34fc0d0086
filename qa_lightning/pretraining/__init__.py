"""Continued pre-training on plain text: masked tokens and recurring spans."""

from __future__ import annotations

from qa_lightning.pretraining.datamodule import TextDataModule
from qa_lightning.pretraining.module import MaskedLanguageModule

__all__ = ["MaskedLanguageModule", "TextDataModule"]

"""Short trainings of the tiny model in plain Python, without the command line."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest

from qa_lightning.data.datamodule import QADataModule
from qa_lightning.modeling.module import QALightningModule
from tests.tiny import PASSAGES

SETTINGS: dict[str, Any] = {
    "max_length": 20,
    "max_question_length": 10,
    "doc_stride": 2,
    "version_2_with_negative": True,
}
"""So short that the passages of `write_long` need several windows."""

NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
"""What a BERT's configuration is overridden with, where two computations are to be the same."""

trains = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),  # how Lightning 2.6 asks torch 2.13
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),  # batches are built where they are used
    pytest.mark.filterwarnings("ignore:Total length of `list`"),  # there is nothing to validate on
]
"""Marks of test modules that train: warnings that are no news."""


def write_long(path: Path, *, copies: int = 1) -> Path:
    """Questions as SQuAD JSON on passages of three sentences, which need several windows.

    Each passage has six questions that it answers, with one gold each, and one that it does not.
    """
    paragraphs = []
    for copy in range(copies):
        order = PASSAGES[copy % 3 :] + PASSAGES[: copy % 3]
        context = " ".join(sentence for sentence, _ in order)
        qas: list[dict[str, Any]] = [
            {"question": question, "answers": [{"text": answer, "answer_start": context.index(answer)}]}
            for _, questions in order
            for question, answer in questions
        ]
        qas.append({"question": "When?", "answers": [], "is_impossible": True})
        paragraphs.append({"context": context, "qas": [{"id": f"{copy}-{i}"} | qa for i, qa in enumerate(qas)]})
    path.write_text(json.dumps({"version": "v2.0", "data": [{"title": "", "paragraphs": paragraphs}]}))
    return path


def make_module(model: Path | str | None, **options: Any) -> QALightningModule:
    """A module around the model in a folder."""
    return QALightningModule(None if model is None else str(model), **SETTINGS | options)


def make_data(model: Path | str, *, train: Path | None = None, **options: Any) -> QADataModule:
    """Data with the tokenizer of a model folder."""
    files = {key: str(path) for key, path in {"train_file": train}.items() if path is not None}
    return QADataModule(str(model), **SETTINGS | files | {"batch_size": 4} | options)


def make_trainer(folder: Path, *callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    """A silent trainer on the CPU whose files go into a folder."""
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    settings = {"accelerator": "cpu", "max_epochs": 1, "enable_checkpointing": False, "use_distributed_sampler": False}
    settings |= quiet | options
    if any(isinstance(callback, pl.callbacks.Checkpoint) for callback in callbacks):
        settings["enable_checkpointing"] = True
    return pl.Trainer(default_root_dir=folder, callbacks=list(callbacks), **settings)


def script_scores(module: QALightningModule, *f1: float) -> QALightningModule:
    """Makes each validation's ``f1`` the next of these values, whatever the model answers."""
    values, compute = iter(f1), module.evaluation.compute

    def scripted() -> dict[str, dict[str, float]]:
        value = next(values)
        return {name: scores | {"f1": value} for name, scores in compute().items()}

    module.evaluation.compute = scripted
    return module


class Watch(pl.Callback):
    """Calls a function at the end of every training batch, and keeps what it returns."""

    def __init__(self, function: Callable[[pl.Trainer, pl.LightningModule], Any]) -> None:
        self.function = function
        self.seen: list[Any] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        self.seen.append(self.function(trainer, pl_module))


class StopAt(pl.Callback):
    """Raises an exception when training has come to a step, or a validation to its first batch.

    Args:
        exception: What to raise.
        step: After which step of the optimizer.
        in_validation: Whether to wait for the next validation.
    """

    def __init__(self, exception: BaseException, step: int, *, in_validation: bool = False) -> None:
        self.exception = exception
        self.step = step
        self.in_validation = in_validation

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step >= self.step and not self.in_validation:
            raise self.exception

    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step >= self.step and self.in_validation and not trainer.sanity_checking:
            raise self.exception


class Send(pl.Callback):
    """Sends this process a signal, once, in the middle of a batch of training or of the validation after it.

    Args:
        number: The signal.
        step: After which step of the optimizer: in the batch that is trained next, or validated.
        in_validation: Whether to wait for the validation.
    """

    def __init__(self, number: int, step: int, *, in_validation: bool = False) -> None:
        self.number: int | None = number
        self.step = step
        self.in_validation = in_validation

    def _send(self, trainer: pl.Trainer) -> None:
        if self.number is not None and trainer.global_step == self.step and not trainer.sanity_checking:
            number, self.number = self.number, None
            signal.raise_signal(number)

    def on_before_zero_grad(self, trainer: pl.Trainer, *_: Any) -> None:
        if not self.in_validation:
            self._send(trainer)

    def on_validation_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if self.in_validation:
            self._send(trainer)

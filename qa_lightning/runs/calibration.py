"""The answers of a table of questions, as calibration looks at them, and what a run's model was calibrated to."""

from __future__ import annotations

import hashlib
import shlex
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qa_lightning.decoding.temperatures import PLAIN_SOFTMAX, Temperatures, null_log_odds, null_probabilities
from qa_lightning.pretrained.checkpoint_file import is_checkpoint
from qa_lightning.pretrained.loading import load_settings
from qa_lightning.pretrained.settings import CALIBRATION, saved_temperatures
from qa_lightning.runs.comparison import clusters
from qa_lightning.runs.folder import RunFolder
from qa_lightning.runs.provenance import read_config
from qa_lightning.runs.run_info import read_run_info
from qa_lightning.utils.arrays import BoolArray, FloatArray, IntArray
from qa_lightning.utils.errors import UserError

_EVALUATIONS = ("validate", "test", "predict")
"""Folders in a run's that hold the evaluations of its model."""


@dataclass(frozen=True)
class AnsweredQuestions:
    """What a model says of questions whose golds are known; each array has an entry for each question.

    Attributes:
        spans: Scores of the spans that were kept, the best first, minus infinity behind the last; ``[questions, n]``.
        null: The score of null; minus infinity where a question had to be answered.
        says_null: Whether null was predicted, or there was nothing else to predict.
        span_right: Whether the best span is exactly right.
        answerable: Whether there is a gold.
        right: Whether what was predicted is exactly right.
        paragraphs: The number of the question's context.
    """

    spans: FloatArray
    null: FloatArray
    says_null: BoolArray
    span_right: BoolArray
    answerable: BoolArray
    right: BoolArray
    paragraphs: IntArray

    @classmethod
    def of_table(cls, table: pa.Table) -> AnsweredQuestions:
        """Takes them from a table of `questions.SCHEMA`, all of whose questions are scored."""
        scores, is_null = _padded_scores(table["answers"])
        spans = np.where(is_null, -np.inf, scores)
        return cls(
            -np.sort(-spans, axis=1),
            np.where(is_null, scores, -np.inf).max(axis=1, initial=-np.inf),
            pc.equal(table["prediction"], "").to_numpy(),
            table["span_exact_match"].to_numpy() == 100,
            pc.greater(pc.list_value_length(table["golds"]), 0).to_numpy(),
            table["exact_match"].to_numpy() == 100,
            clusters(table),
        )

    def __len__(self) -> int:
        return len(self.null)

    @property
    def null_allowed(self) -> bool:
        """Whether any question could be left unanswered."""
        return bool((self.null != -np.inf).any())

    def take(self, rows: BoolArray) -> AnsweredQuestions:
        """Only some of the questions."""
        return AnsweredQuestions(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def log_odds(self) -> FloatArray:
        """The log-odds of null, as `null_log_odds` has them; ``[questions]``."""
        return null_log_odds(self.null, self.spans)

    def confidence(self, temperatures: Temperatures = PLAIN_SOFTMAX) -> FloatArray:
        """Computes the probability of what was predicted: its score, as a Reader gives it; ``[questions]``.

        Args:
            temperatures: How scores become probabilities.
        """
        has_null = self.null != -np.inf
        of_null = np.where(has_null, null_probabilities(self.log_odds(), temperatures), 0.0)
        if self.spans.shape[1] == 0:
            return np.where(self.says_null, of_null, 0.0)
        best = self.spans[:, 0]
        with np.errstate(invalid="ignore"):  # where there is no span
            others = np.exp((self.spans - best[:, None]) / temperatures.temperature).sum(axis=1)
        of_span = np.where(best == -np.inf, 0.0, (1 - of_null) / np.where(best == -np.inf, 1.0, others))
        return np.where(self.says_null, of_null, of_span)


@dataclass(frozen=True)
class SavedCalibration:
    """What a model was calibrated to.

    Attributes:
        temperatures: How its scores become probabilities.
        fingerprint: That of the questions that they were fitted to; empty where it is not known.
    """

    temperatures: Temperatures
    fingerprint: str = ""


def fingerprint(table: pa.Table) -> str:
    """Makes a text that only the same questions on the same contexts have, in whatever order."""
    pairs = zip(table["question"].to_pylist(), table["context"].to_pylist(), strict=True)
    hashes = sorted({hashlib.sha256(f"{question}\0{context}".encode()).hexdigest() for question, context in pairs})
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def calibration_of_run(run: Path) -> SavedCalibration | None:
    """Reads what the model was calibrated to that a run has trained, or that it has evaluated.

    Args:
        run: The folder of a run, or of a named evaluation set in it.

    Returns:
        None where its model was not calibrated, or is not known.

    Raises:
        UserError: Where the model's settings cannot be read.
    """
    owner, _ = RunFolder(run).owner()
    model = owner.best_model if owner.best_model.is_dir() else _evaluated_model(owner)
    found = {} if model is None or not model.is_dir() else load_settings(str(model))
    if not saved_temperatures(found):
        return None
    return SavedCalibration(Temperatures(**saved_temperatures(found)), str(found[CALIBRATION].get("fingerprint", "")))


def _evaluated_model(run: RunFolder) -> Path | None:
    """The folder of the model that an evaluation without a training took, as far as that is known."""
    trained = RunFolder(run.path.parent)
    if run.path.name in _EVALUATIONS and trained.best_model.is_dir():
        return trained.best_model if _took_the_best(run) else None
    try:
        config = read_config(run.config)
    except UserError:
        return None
    model = config.get("model")
    arguments = model.get("init_args", model) if isinstance(model, dict) else {}
    name = arguments.get("model_name_or_path") if isinstance(arguments, dict) else None
    if not isinstance(name, str) or config.get("ckpt_path") or is_checkpoint(name):
        return None  # a checkpoint has settings of its own
    named = RunFolder(Path(name))
    return named.best_model if named.is_run else Path(name)


def _took_the_best(evaluation: RunFolder) -> bool:
    """Whether an evaluation of a run's took its best checkpoint, whose weights are those of its best model."""
    info = read_run_info(evaluation)
    if info is None or not info.commands:
        return False
    words = shlex.split(info.commands[-1].command.replace("=", " "))
    return "--ckpt_path" not in words[:-1] or words[words.index("--ckpt_path") + 1] == "best"


def _padded_scores(answers: pa.ChunkedArray) -> tuple[FloatArray, BoolArray]:
    """Start plus end logit of each answer, minus infinity behind the last, and which of them are null."""
    lists = answers.combine_chunks()
    lists = lists.chunk(0) if isinstance(lists, pa.ChunkedArray) else lists
    counts = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    values = lists.flatten()
    row = np.repeat(np.arange(len(counts)), counts)
    column = np.arange(len(row)) - np.repeat(counts.cumsum() - counts, counts)
    start, end, last = (
        values.field(name).to_numpy(zero_copy_only=False) for name in ("start_logit", "end_logit", "end")
    )
    scores = np.full((len(counts), counts.max(initial=0)), -np.inf)
    is_null = np.zeros(scores.shape, dtype=np.bool_)
    scores[row, column], is_null[row, column] = start + end, last == 0
    return scores, is_null

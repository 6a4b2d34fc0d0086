"""Settings of a Reader: the arguments of transformers' former pipeline, and those of a trained model."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from numbers import Integral
from typing import Any

from qa_lightning.decoding.temperatures import PLAIN_SOFTMAX, Temperatures
from qa_lightning.pretrained.settings import CALIBRATION, SETTINGS_FILE, saved_temperatures
from qa_lightning.reader.former_arguments import IGNORED_ARGUMENTS, LOADING_ARGUMENTS
from qa_lightning.records import WindowConfig
from qa_lightning.utils.bounds import MOST_ANSWERS, check_between
from qa_lightning.utils.errors import UserError

_LONGEST_WINDOW = WindowConfig.max_length
_LONGEST_STRIDE = 128

_LARGEST = (1 << 31) - 1
"""Largest value of a whole number."""

_MIN_SIMILARITY = 0.85
"""Least similarity of a name to the one that it is taken for a typo of; ``batch_size`` is none of ``n_best_size``."""

_SAVED = {
    "doc_stride": "doc_stride",
    "max_answer_length": "max_answer_len",
    "max_length": "max_seq_len",
    "max_question_length": "max_question_len",
    "version_2_with_negative": "handle_impossible_answer",
    "n_best_size": "n_best_size",
    "null_score_diff_threshold": "null_score_diff_threshold",
}
"""Names of a trained model's settings, and their names here."""


@dataclass(frozen=True)
class Settings:
    """Settings of how a Reader answers.

    Attributes:
        top_k: Answers to each question, best first; fewer where there are no more.
        doc_stride: Context tokens that neighbouring windows share; default: 128, or what there is room for.
        max_answer_len: Most tokens of an answer.
        max_seq_len: Most tokens of a window; default: 384, or as many as the model has positions for.
        max_question_len: Most tokens of a question; longer ones are cut, though not with ``legacy``.
        handle_impossible_answer: Whether "no answer" may be the answer, which has an empty text.
        align_to_words: Whether answers are made of whole words, as Unicode divides texts into words.
        n_best_size: Number of answers of a question that scores are a softmax over.
        null_score_diff_threshold: The margin by which "no answer" must lead to be the answer.
        temperature: What `calibrate` found that the scores of answers are to be divided by before their softmax.
        null_temperature: What it found that the log-odds of "no answer" are to be divided by.
        null_bias: What it found that is to be taken from these before.
        legacy: Answers and scores as transformers' former pipeline did, faults included.
    """

    top_k: int = 1
    doc_stride: int | None = None
    max_answer_len: int = 15
    max_seq_len: int | None = None
    max_question_len: int = 64
    handle_impossible_answer: bool = False
    align_to_words: bool = True
    n_best_size: int = 20
    null_score_diff_threshold: float = 0.0
    temperature: float = PLAIN_SOFTMAX.temperature
    null_temperature: float = PLAIN_SOFTMAX.null_temperature
    null_bias: float = PLAIN_SOFTMAX.null_bias
    legacy: bool = False

    def __post_init__(self) -> None:
        for name in ("top_k", "max_answer_len", "n_best_size"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, not {getattr(self, name)}")
        check_between("n_best_size", self.n_best_size, 1, MOST_ANSWERS)
        _ = self.temperatures  # which checks them

    @property
    def temperatures(self) -> Temperatures:
        """How scores become probabilities."""
        return Temperatures(self.temperature, self.null_temperature, self.null_bias)

    @classmethod
    def of_model(cls, saved: Mapping[str, Any]) -> Settings:
        """Makes the settings that a model of ours was trained with; the pipeline's defaults for other models.

        Args:
            saved: What `pretrained.load_settings` returned.

        Raises:
            UserError: Where one of them is missing.
        """
        temperatures: dict[str, Any] = saved_temperatures(saved)
        if not saved.keys() - {CALIBRATION}:
            return cls(**temperatures)
        missing = [name for name in _SAVED if name not in saved]
        if missing:
            raise UserError(f"the model's {SETTINGS_FILE} is missing {missing[0]}; add it, or delete that file")
        # Validation does not keep words whole.
        try:
            return cls(align_to_words=False, **{ours: saved[theirs] for theirs, ours in _SAVED.items()}, **temperatures)
        except UserError as error:
            raise UserError(f"the model's {SETTINGS_FILE}: {error}") from None

    def updated(self, values: Mapping[str, Any]) -> Settings:
        """Copies the settings with some values replaced.

        Args:
            values: The new values, by name.

        Raises:
            UserError: For an unknown name or an invalid value.
        """
        names = [field.name for field in fields(self)]
        for name, value in values.items():
            if name not in names:
                raise UserError(f"unknown argument {name!r:.80}; {_suggest(name, names)}")
            if not _has_type_of(value, getattr(Settings, name)):
                raise UserError(f"{name} cannot be {value!r:.80}")
        # NumPy's integers become Python's.
        plain: dict[str, Any] = {
            name: int(value) if isinstance(value, Integral) and not isinstance(value, int) else value
            for name, value in values.items()
        }
        return replace(self, **plain)

    def lengths(self, longest: int | None, tokenizer: Any, special_tokens: int) -> tuple[int, int]:
        """Computes the length of windows and their stride, in tokens.

        Args:
            longest: How many tokens the model has positions for; None: any number.
            tokenizer: The model's tokenizer, whose ``model_max_length`` counts with ``legacy`` only.
            special_tokens: Tokens of a window that belong to neither question nor context.

        Raises:
            UserError: Where the model has too few positions, or no room is left for the context to move on; with
                ``legacy``, whose questions are not cut, that depends on the questions.
        """
        max_seq_len = self.max_seq_len
        if max_seq_len is None:
            most = int(tokenizer.model_max_length) if self.legacy else _LONGEST_WINDOW
            max_seq_len = min(_LONGEST_WINDOW, longest or _LONGEST_WINDOW, most)
        if longest is not None and max_seq_len > longest:
            raise UserError(f"max_seq_len ({max_seq_len}) is beyond the model's {longest} positions; lower it")
        doc_stride = self.doc_stride
        if self.legacy:
            if doc_stride is None:
                doc_stride = min(max_seq_len // 2, _LONGEST_STRIDE)
            if not 0 <= doc_stride <= max_seq_len:
                raise UserError(f"doc_stride ({doc_stride}) is not between 0 and max_seq_len ({max_seq_len})")
            return max_seq_len, doc_stride
        room = max_seq_len - self.max_question_len - special_tokens
        if doc_stride is None:
            doc_stride = max(0, min(_LONGEST_STRIDE, room // 2))
        WindowConfig(max_seq_len, doc_stride, self.max_question_len).check(
            special_tokens, ("max_seq_len", "max_question_len")
        )
        return max_seq_len, doc_stride


def _suggest(name: str, names: Sequence[str]) -> str:
    """Suggests what to do about an unknown name; another name is suggested for a typo only."""
    if name in IGNORED_ARGUMENTS | LOADING_ARGUMENTS:
        return "it is one of transformers' pipeline, which qa_lightning.pipeline takes; leave it out here"
    near = difflib.get_close_matches(name, names, n=1, cutoff=_MIN_SIMILARITY)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"


def _has_type_of(value: Any, default: Any) -> bool:
    """Whether a value has the type of a default; for a default of None: a whole number or None."""
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, int | float) and abs(value) <= sys.float_info.max
    return (isinstance(value, Integral) and abs(int(value)) <= _LARGEST) or (value is None and default is None)

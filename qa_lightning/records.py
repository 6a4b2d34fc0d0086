"""The records that are shared by several layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qa_lightning.utils.errors import UserError

AnswerDict = dict[str, Any]
"""An answer as a Reader returns it: ``score``, ``start``, ``end`` (characters of the context, end exclusive) and
``answer``, its text."""


@dataclass(frozen=True)
class WindowConfig:
    """How contexts are cut into windows, in tokens.

    Attributes:
        max_length: Most tokens of a window, including special tokens.
        doc_stride: Context tokens that neighbouring windows share.
        max_question_length: Most tokens of a question; a longer one is truncated.
    """

    max_length: int = 384
    doc_stride: int = 128
    max_question_length: int = 64

    def check(self, special_tokens: int, names: tuple[str, str] = ("max_length", "max_question_length")) -> None:
        """Checks that a long question leaves enough room for the context.

        Args:
            special_tokens: Special tokens of a window.
            names: The names of the two lengths in messages.

        Raises:
            UserError: Unless ``max_length - max_question_length - special_tokens > doc_stride``, and where neighbouring
                windows would leave tokens out or a question would have none.
        """
        of_window, of_question = names
        for name, value, least in (("doc_stride", self.doc_stride, 0), (of_question, self.max_question_length, 1)):
            if value < least:
                raise UserError(f"{name} must be at least {least}, not {value}")
        room = self.max_length - self.max_question_length - special_tokens
        if room <= self.doc_stride:
            raise UserError(
                f"doc_stride ({self.doc_stride}) leaves no room for the context to move on: {of_window} "
                f"({self.max_length}) − {of_question} ({self.max_question_length}) − {special_tokens} special tokens = "
                f"{room} context tokens; lower doc_stride or {of_question}, or raise {of_window}"
            )


@dataclass(slots=True)
class Question:
    """A question as evaluation, scoring and result files need it.

    Attributes:
        row: Its place in the data, in published order.
        id: Its id, unique within the split.
        question: The question's text.
        context: The text that answers are cut from.
        golds: The published answers; empty for an unanswerable question; None where they are not known.
        windows: How many windows it was cut into; it is answered when all of them were seen.
        gold_spans: Where each of the golds stands in the context, in characters, end exclusive; None for one
            that was not located; empty where golds are not known.
    """

    row: int
    id: str
    question: str
    context: str
    golds: tuple[str, ...] | None
    windows: int
    gold_spans: tuple[tuple[int, int] | None, ...] = ()


@dataclass(slots=True)
class Answer:
    """One candidate answer; the null answer has an empty text and the empty span (0, 0).

    Attributes:
        text: The characters ``context[start:end]``.
        start: First character in the context.
        end: End of the span in characters, exclusive.
        start_logit: The model's score of the span's first token.
        end_logit: The model's score of the span's last token.
        probability: Softmax of ``start_logit + end_logit`` over the question's kept answers.
    """

    text: str
    start: int
    end: int
    start_logit: float
    end_logit: float
    probability: float

    @property
    def score(self) -> float:
        """The sum of the two logits, which ranks answers."""
        return self.start_logit + self.end_logit


ANSWER = np.dtype([("start", "i4"), ("end", "i4"), ("start_logit", "f4"), ("end_logit", "f4"), ("probability", "f8")])
"""An `Answer` without its text, which the context holds: 24 bytes."""

AnswerRows = NDArray[np.void]
"""An array of answers, with the dtype `ANSWER`."""


class Answers:
    """The candidate answers to one question, best first, as a compact array; each `Answer` is made on access.

    It can be indexed, sliced and iterated like a tuple of answers. It is no ``collections.abc.Sequence``,
    since Lightning takes those in a prediction apart and puts lists into their place.

    Args:
        context: What the answers are cut from.
        rows: The candidates; `ANSWER` ``[answers]``.
    """

    __slots__ = ("context", "rows")

    def __init__(self, context: str, rows: AnswerRows) -> None:
        self.context = context
        self.rows = rows

    @classmethod
    def of(cls, context: str, answers: Iterable[Answer]) -> Answers:
        """Makes the array from answers whose texts are cut from the context."""
        rows = [
            (answer.start, answer.end, answer.start_logit, answer.end_logit, answer.probability) for answer in answers
        ]
        return cls(context, np.array(rows, dtype=ANSWER))

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, place: int) -> Answer: ...
    @overload
    def __getitem__(self, place: slice) -> Answers: ...
    def __getitem__(self, place: int | slice) -> Answer | Answers:
        if isinstance(place, slice):
            return Answers(self.context, self.rows[place])
        start, end, *numbers = self.rows[place].item()
        return Answer(self.context[start:end], start, end, *numbers)

    def __iter__(self) -> Iterator[Answer]:
        return map(self.__getitem__, range(len(self)))

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Answers) else NotImplemented

    def __repr__(self) -> str:
        return f"Answers({list(self)})"

    @property
    def span(self) -> Answer | None:
        """The best answer that is not null, if there is any."""
        return next((answer for answer in self if answer.text), None)

    @property
    def null(self) -> Answer | None:
        """The null answer, if it is among them."""
        return next((self[i] for i in np.flatnonzero(self.rows["end"] == 0).tolist()), None)


@dataclass(slots=True)
class Prediction:
    """The prediction for one question.

    Attributes:
        question: The question that is answered.
        text: The answer; empty where null was predicted.
        answers: The best candidates, best first; with null allowed, the null answer is among them.
        null_odds: Null score minus the best other score; None where null was not allowed.
    """

    question: Question
    text: str
    answers: Answers
    null_odds: float | None


class Teacher(Protocol):
    """A trained model that is run over windows of training data.

    Attributes:
        source: Its name in messages.
        tokenizer: Its tokenizer.
        null_at_end: Whether it scores null at the end of windows.
        fingerprint: A text that no teacher has that predicts otherwise.
        longest: Most tokens of a window; None: any number.
    """

    source: str

    @property
    def tokenizer(self) -> Any: ...  # noqa: D102 - see above

    @property
    def null_at_end(self) -> bool: ...  # noqa: D102 - see above

    @property
    def fingerprint(self) -> str: ...  # noqa: D102 - see above

    @property
    def longest(self) -> int | None: ...  # noqa: D102 - see above

    def logits(self, batch: Batch, device: torch.device) -> tuple[Tensor, Tensor]:
        """Computes its start and end logits of a batch; float32 ``[batch, length]`` each."""
        ...

    def release(self) -> None:
        """Frees the memory of its network."""
        ...


@dataclass(slots=True)
class Batch:
    """A batch of windows as tensors. Evaluation fields are None in training.

    Attributes:
        inputs: What the model's ``forward`` takes: ``input_ids``, ``attention_mask``, for models that have them
            ``token_type_ids``, and where rows are padded at their left ``position_ids``, which count from the first
            token; int64 ``[batch, length]``. Where a batch is filled up to a shape, they have more rows than there
            are windows.
        question_mask: True at the question's tokens; bool ``[batch, length]``.
        context_mask: True at the context's tokens that cover at least one character, which are the ones an
            answer may start or end at; bool ``[batch, length]``.
        null_position: Where null is scored; int64 ``[batch]``; -1 where the tokenizer has no special token.
        starts: First tokens of the gold spans that the window holds whole, or the null position where it
            holds none; int64 ``[batch, golds]``, padded with -1; a row of -1 has no label.
        ends: Last tokens of the same spans (inclusive), same shape and padding.
        ids: The example's id of each window.
        name: Name of the evaluation set; empty where there is only one.
        row_tokens: Tokens of the one row in which a model that packs windows is to be given them; None: each window is
            a row of its own.
        sets: How many windows there are of each training set, by its name; those of a set stand one behind the other,
            in this order. None where there is only one set.
        weight: What its mean loss is multiplied by, so that in an epoch of batches of unequal numbers of windows
            each window counts the same.
        offsets: Characters that each token covers, end exclusive; int64 ``[batch, length, 2]``.
        words: Characters of the word that each token of the context belongs to, end exclusive, where answers are
            to be made of whole words; int64 ``[batch, length, 2]``.
        questions: The question of each window; empty for a window that is evaluated elsewhere.
        teacher_logits: What each teacher predicts for starts and ends, as log-probabilities over the window; float32
            ``[teachers, 2, batch, length]``, minus infinity where it predicts nothing.
    """

    inputs: dict[str, Tensor]
    question_mask: Tensor
    context_mask: Tensor
    null_position: Tensor
    starts: Tensor
    ends: Tensor
    ids: list[str]
    name: str = ""
    row_tokens: int | None = None
    sets: dict[str, int] | None = None
    weight: float = 1.0
    offsets: Tensor | None = None
    words: Tensor | None = None
    questions: list[Question] | None = None
    teacher_logits: Tensor | None = None

    def __len__(self) -> int:
        return len(self.null_position)

    @property
    def positions(self) -> int:
        """Number of positions that the model computes: tokens, and padding or what fills a packed row."""
        return self.row_tokens or self.inputs["input_ids"].numel()

    def _map(self, function: Any) -> Batch:
        changed: dict[str, Any] = {"inputs": {k: function(v) for k, v in self.inputs.items()}}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, torch.Tensor):
                changed[field.name] = function(value)
        return replace(self, **changed)

    def to(self, *args: Any, **kwargs: Any) -> Batch:
        """Moves every tensor as ``Tensor.to`` does, asynchronously from pinned memory; Lightning calls this.

        Args:
            *args: Those of ``Tensor.to``.
            **kwargs: Those of ``Tensor.to``.
        """
        return self._map(lambda tensor: tensor.to(*args, **{"non_blocking": tensor.is_pinned()} | kwargs))

    def pin_memory(self) -> Batch:
        """Copies every tensor to page-locked memory; the DataLoader calls this."""
        return self._map(lambda tensor: tensor.pin_memory())

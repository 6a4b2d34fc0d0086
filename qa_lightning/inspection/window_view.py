"""Windows as people look at them: what each token is, where it comes from, and what is trained at it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from qa_lightning.data.collate import WindowDataset
from qa_lightning.data.splits import Split
from qa_lightning.data.tokens import plain_backend, tokenize
from qa_lightning.inspection.statistics import drawn
from qa_lightning.records import Batch

AROUND = 5
"""Tokens of the context that are shown at its ends and on each side of a label, where others are left out."""


_Place = tuple[str, str, list[int] | None]
"""The part of the window that a token is of, the text of this part, and the token's first character and end in it."""


class Token(NamedTuple):
    """A token of a window.

    Attributes:
        position: Its place in the model's input, from 0.
        token: What the vocabulary calls it.
        start: First character of the question or context that it covers; None where it is of neither.
        end: The end of these characters, exclusive.
        text: The characters.
        part: ``question``, ``context``, ``special`` or ``padding``.
        label: What is trained here: ``start``, ``end``, both, ``no answer``, or nothing.
    """

    position: int
    token: str
    start: int | None
    end: int | None
    text: str
    part: str
    label: str


@dataclass(frozen=True)
class WindowView:
    """A window.

    Attributes:
        id: The question's id.
        number: Which of the question's windows it is, from 1.
        of: How many windows of the question there are.
        decoded: The model's input as the tokenizer decodes it.
        tokens: Its tokens.
    """

    id: str
    number: int
    of: int
    decoded: str
    tokens: tuple[Token, ...]


def sample_windows(split: Split, tokenizer: Any, count: int, seed: int) -> list[WindowView]:
    """A window of each of some questions: the first that holds an answer, or the first.

    Args:
        split: The split.
        tokenizer: That it was made with.
        count: How many questions at most; the first that `inspection.sample_examples` draws.
        seed: Of the draw.
    """
    dataset, views = split.dataset, []
    for row in drawn(split, count, seed).tolist():
        begin, end = np.searchsorted(dataset.windows.example, [row, row + 1]).tolist()
        if begin < end:
            labelled = dataset[np.arange(begin, end)]
            holding = (labelled.starts[:, 0] >= 0) & (labelled.starts[:, 0] != labelled.null_position)
            window = begin + int(holding.int().argmax())
            example = split.table.slice(row, 1).to_pylist()[0]
            ids = dataset[np.array([window])].inputs["input_ids"][0].tolist()
            tokens = _tokens(dataset, window, example["question"], example["context"], tokenizer)
            views.append(WindowView(example["id"], window - begin + 1, end - begin, tokenizer.decode(ids), tokens))
    return views


def shortened(tokens: Sequence[Token]) -> list[list[Token]]:
    """The tokens in runs: each to be shown, or several that are left out.

    Left out are padding, and those of the context that are far from its ends and from every label.
    """
    context = [token.position for token in tokens if token.part == "context"]
    near = [*context[:1], *context[-1:], *(token.position for token in tokens if token.label)]

    def run(token: Token) -> int | str:
        far = token.part == "context" and all(abs(token.position - position) >= AROUND for position in near)
        return token.part if far or token.part == "padding" else token.position

    return [list(of_run) for _, of_run in groupby(tokens, key=run)]


def _tokens(dataset: WindowDataset, window: int, question: str, context: str, tokenizer: Any) -> tuple[Token, ...]:
    """The tokens of a window of this question and context."""
    encoded, layout, batch = dataset.encoded, dataset.encoded.layout, dataset[np.array([window])]
    example = dataset.windows.example[window]
    first = encoded.contexts.bounds[encoded.context_index[example]]
    within = slice(first + dataset.windows.first[window], first + dataset.windows.last[window])
    spans = _question_spans(question, int(encoded.question_lengths[example]), tokenizer)
    of_question: list[_Place] = [("question", question, span) for span in spans]
    of_context: list[_Place] = [("context", context, span) for span in encoded.contexts.offsets[within].tolist()]
    texts = (of_question, of_context) if layout.question_first else (of_context, of_question)
    special: _Place = ("special", "", None)
    before, between, after = ([special] * len(group) for group in (layout.before, layout.between, layout.after))
    real = [*before, *texts[0], *between, *texts[1], *after]
    ids = batch.inputs["input_ids"][0].tolist()
    padding: list[_Place] = [("padding", "", None)] * (len(ids) - len(real))
    places = [*padding, *real] if layout.pad_left else [*real, *padding]
    labels = _labels(batch, len(ids))
    tokens = []
    for i, (token, (part, text, span)) in enumerate(zip(tokenizer.convert_ids_to_tokens(ids), places, strict=True)):
        start, end = span or (None, None)
        tokens.append(Token(i, token, start, end, text[start:end] if span else "", part, labels[i]))
    return tuple(tokens)


def _question_spans(question: str, length: int, tokenizer: Any) -> list[list[int] | None]:
    """The characters of each of the question's tokens; None where the question alone has other tokens."""
    stripped = question.lstrip()
    offsets = tokenize(pa.array([stripped], pa.string()), plain_backend(tokenizer)).offsets[:length]
    spans: list[list[int] | None] = [*(offsets + len(question) - len(stripped)).tolist()]
    return spans if len(spans) == length else [None] * length


def _labels(batch: Batch, length: int) -> list[str]:
    """What is trained at each position of the only window of a batch."""
    null = int(batch.null_position[0])
    labels: list[list[str]] = [[] for _ in range(length)]
    for name, positions in (("start", batch.starts[0].tolist()), ("end", batch.ends[0].tolist())):
        for position in positions:
            if position == null >= 0:
                labels[position] = ["no answer"]
            elif position >= 0 and name not in labels[position]:
                labels[position].append(name)
    return [", ".join(names) for names in labels]

"""The questions of a run as JSON for the page: small, and harmless within HTML.

Each context stands there once, and an answer is where it stands in its context. Offsets are in UTF-16 code units,
in which JavaScript counts, where Python counts characters.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from qa_lightning.runs.analysis import OUTCOMES, outcome

BUDGET = 8_000_000
"""Bytes that the questions of a page may take."""

FIELDS = (
    "id",
    "question",
    "type",
    "windows",
    # Index into the contexts.
    "context",
    # [start, end] where the text stands in the context, else [text]; both where the text there is another: [start,
    # end, text]. None: not known.
    "golds",
    # [start, end]; None: no answer.
    "prediction",
    # Index into the outcomes.
    "outcome",
    "exact",
    "f1",
    "score",
    "probability",
    "nullOdds",
    # [start, end, probability] each; no answer is the empty span.
    "nBest",
)
"""What a question's array holds, in this order."""

_HARMLESS = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


@dataclass(frozen=True, slots=True)
class PageData:
    """The questions of the page, as JSON.

    Attributes:
        data: JSON: an object of ``fields``, ``outcomes``, ``contexts`` and ``questions``, arrays of `FIELDS`.
        shown: How many of the first questions it holds.
    """

    data: str
    shown: int


def page_data(table: pa.Table, n_best: int, most: int | None = None, budget: int = BUDGET) -> PageData:
    """Puts as many of the first questions into JSON as there is room for.

    Args:
        table: The questions, as `qa_lightning.runs.questions.tabulate` makes them.
        n_best: How many candidates of each are kept.
        most: How many questions at most; None: no limit.
        budget: How many bytes of UTF-8 at most.
    """
    table = table.slice(0, most).unify_dictionaries().combine_chunks()
    texts: list[str] = []
    indices: list[int] = []
    for chunk in table["context"].chunks:  # one, or none where there is no question
        texts, indices = chunk.dictionary.to_pylist(), chunk.indices.to_pylist()
    # The best text is the first or, behind null, the second.
    answers = pc.list_slice(table["answers"], 0, max(n_best, 2))
    rows = table.drop_columns(["context", "answers"]).append_column("answers", answers).to_pylist()
    contexts: dict[int, _Context] = {}
    questions: list[str] = []
    used = 0
    for row, index in zip(rows, indices, strict=True):
        context = contexts.get(index) or _Context(len(contexts), texts[index])
        question = _dump(_question(row, context, n_best))
        used += len(question.encode()) + 1
        if index not in contexts:
            used += len(_dump(context.text).encode()) + 1
        if used > budget:
            break
        contexts[index] = context
        questions.append(question)
    written = ",".join(_dump(context.text) for context in contexts.values())
    data = (
        f'{{"fields":{_dump(FIELDS)},"outcomes":{_dump(OUTCOMES)},'
        f'"contexts":[{written}],"questions":[{",".join(questions)}]}}'
    )
    return PageData(data, len(questions))


class _Context:
    """A context on the page.

    Args:
        place: Which of the page's contexts it is.
        text: Its text.
    """

    def __init__(self, place: int, text: str) -> None:
        self.place = place
        self.text = text
        self._pairs = [] if text.isascii() else [i for i, character in enumerate(text) if ord(character) > 0xFFFF]

    def units(self, character: int) -> int:
        """An offset in UTF-16 code units, of which characters beyond the first 65,536 take two."""
        return character + bisect_left(self._pairs, character)


def _question(row: dict[str, Any], context: _Context, n_best: int) -> list[Any]:
    best = next((answer for answer in row["answers"] if answer["text"]), None)
    golds = row["golds"]
    return [
        row["id"],
        row["question"],
        row["question_type"],
        row["windows"],
        context.place,
        None if golds is None else list({json.dumps(gold): _gold(gold, context) for gold in golds}.values()),
        [context.units(best["start"]), context.units(best["end"])] if row["prediction"] and best else None,
        outcome(row["exact_match"], row["f1"], bool(golds), bool(row["prediction"])),
        _rounded(row["exact_match"], 2),
        _rounded(row["f1"], 2),
        _rounded(row["score"], 3),
        _rounded(row["probability"], 4),
        _rounded(row["null_odds"], 3),
        [
            [context.units(answer["start"]), context.units(answer["end"]), _rounded(answer["probability"], 4)]
            for answer in row["answers"][:n_best]
        ],
    ]


def _gold(gold: dict[str, Any], context: _Context) -> list[Any]:
    text, start, end = gold["text"], gold["start"], gold["end"]
    if start is None:
        return [text]
    span = [context.units(start), context.units(end)]
    return span if context.text[start:end] == text else [*span, text]


def _rounded(value: float | None, digits: int) -> float | None:
    """A number short enough for the page; None also where it is infinite, which JSON has no word for."""
    return round(value, digits) if value is not None and math.isfinite(value) else None


def _dump(value: Any) -> str:
    """JSON without any character that could end the element that holds it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).translate(_HARMLESS)

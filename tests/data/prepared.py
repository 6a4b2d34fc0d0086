"""Splits as the package prepares them, from files or from rows written in a test."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qa_lightning.data.sources import RawSplit, read_examples, rows_to_examples
from qa_lightning.data.splits import Split, SplitConfig, build_split

_RECIPE: dict[str, Any] = {
    "max_length": 384,
    "doc_stride": 128,
    "max_question_length": 64,
    "answers": "first",
    "allow_impossible_windows": True,
    "version_2_with_negative": False,
    "on_misaligned": "repair",
    "cache_dir": None,
}


@functools.cache
def read(file: Path, select: str = "validation") -> RawSplit:
    """The questions of a file, as evaluation data."""
    return read_examples(
        split="validation", files=str(file), select=select, training=False, version_2_with_negative=True
    )


def rows(context: str, *golds: tuple[str, ...], question: str = "who ?") -> RawSplit:
    """A question about the context for each tuple of gold answers; an empty one is an unanswerable question.

    Golds are looked for in the context from its start.
    """
    return rows_to_examples(
        [
            {
                "id": str(number),
                "question": question,
                "context": context,
                "answers": {"text": list(texts), "answer_start": [context.find(text) for text in texts]},
            }
            for number, texts in enumerate(golds)
        ],
        source="rows",
    )


def prepare(loaded: RawSplit, tokenizer: Any, *, training: bool = False, **settings: Any) -> Split:
    """A split of what was loaded; settings are those of `SplitConfig`, by default transformers'."""
    return build_split(loaded, tokenizer, SplitConfig(**_RECIPE | settings), source="rows", training=training)


def covered(context: str, offsets: Sequence[Sequence[int]]) -> list[tuple[int, int] | None]:
    """What each of a tokenizer's offsets covers for an answer, worked out the slow way; None for nothing.

    Without white space at the edges, and with the combining marks behind it that no token covers.
    """
    spans: list[tuple[int, int] | None] = []
    nexts = [*(start for start, _ in offsets[1:]), len(context)]
    for (start, end), following in zip(offsets, nexts, strict=False):
        text = context[start:end]
        start, end = end - len(text.lstrip()), start + len(text.rstrip())
        while start < end < following and unicodedata.category(context[end]).startswith("M"):
            end += 1
        spans.append((start, end) if start < end else None)
    return spans

"""One split's way from examples to windows, with an account of what was repaired, cut and dropped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from qa_lightning.data.alignment import OnMisaligned, align
from qa_lightning.data.collate import Encoded, WindowDataset
from qa_lightning.data.encode import AnswerChoice, encode
from qa_lightning.data.sources import Loaded
from qa_lightning.data.windows import Windows, check_lengths, cut, holds
from qa_lightning.errors import UserError
from qa_lightning.records import Question


@dataclass(frozen=True)
class Recipe:
    """How examples become windows; the arguments are those of `QADataModule`."""

    max_length: int
    doc_stride: int
    max_question_length: int
    answers: AnswerChoice
    allow_impossible_windows: bool
    version_2_with_negative: bool
    on_misaligned: OnMisaligned
    cache_dir: Path | None
    pad_to_multiple_of: int = 1
    null_at_end: bool = False


@dataclass(frozen=True)
class Split:
    """A split ready to be batched.

    Attributes:
        dataset: Its windows.
        table: The examples that the windows are cut from, with the schema ``alignment.ALIGNED``.
        report: What was read, repaired, cut and dropped, as plain data for a JSON file.
        summary: The same in a line or two for people.
    """

    dataset: WindowDataset
    table: pa.Table
    report: dict[str, Any]
    summary: str


def build_split(
    loaded: Loaded, tokenizer: Any, recipe: Recipe, *, source: str, training: bool, name: str = ""
) -> Split:
    """Aligns, tokenises and cuts the examples of one split.

    Args:
        loaded: What `sources.read_examples` returned.
        tokenizer: A fast tokenizer of transformers.
        recipe: How.
        source: What messages call the split.
        training: Whether to leave out what nothing can be learnt from, and to make no questions for scoring.
        name: The evaluation set's name.

    Raises:
        UserError: Where the settings do not fit the tokenizer, or nothing is left.
    """
    table, alignment = align(loaded.table, on_misaligned=recipe.on_misaligned, training=training, source=source)
    if not len(table):
        raise UserError(f"{source}: no question is left, since no answer was found in its context; check the columns")
    encoded = encode(
        table,
        tokenizer,
        max_question_length=recipe.max_question_length,
        answers=recipe.answers,
        cache_dir=recipe.cache_dir,
        null_at_end=recipe.null_at_end,
    )
    layout = encoded.layout
    check_lengths(recipe.max_length, recipe.doc_stride, recipe.max_question_length, layout.special_tokens)
    if layout.null is None and recipe.version_2_with_negative:
        raise UserError(
            f"the tokenizer {type(tokenizer).__name__} adds no special token at which 'no answer' could be scored; "
            "set version_2_with_negative: false with answerable questions, or choose another model"
        )
    windows = cut(
        encoded.contexts.lengths[encoded.context_of],
        encoded.question_lengths,
        max_length=recipe.max_length,
        doc_stride=recipe.doc_stride,
        special=layout.special_tokens,
    )
    counts = {
        "questions": len(table),
        "windows": len(windows),
        "questions_cut": int(np.sum(encoded.questions.lengths[encoded.question_of] > recipe.max_question_length)),
    }
    if training:
        kept = windows.select(_trainable(encoded, windows, recipe))
        counts |= {"windows_dropped": len(windows) - len(kept), "windows": len(kept)}
        windows = kept
        if not len(windows):
            raise UserError(f"{source}: no window holds an answer; raise max_length or allow_impossible_windows")
    ids = table["id"].to_pylist()
    questions = None if training else _questions(table, windows)
    report = counts | {
        "dropped": dict(loaded.dropped),
        "made_ids": loaded.made_ids,
        "alignment": alignment.to_dict(),
    }
    return Split(
        WindowDataset(encoded, windows, ids, questions, name, recipe.pad_to_multiple_of),
        table,
        report,
        _summary(source, counts, loaded, str(alignment)),
    )


def _trainable(encoded: Encoded, windows: Windows, recipe: Recipe) -> NDArray[np.bool_]:
    """Which windows something can be learnt from; bool ``[windows]``."""
    keep = ~encoded.unlabelled[windows.example]
    if recipe.allow_impossible_windows and encoded.layout.null is not None:
        return keep
    window, _, whole = holds(windows, encoded.golds)
    holding = np.zeros(len(windows), dtype=bool)
    holding[window[whole]] = True
    unanswerable = np.diff(encoded.golds.bounds)[windows.example] == 0
    return keep & (holding | unanswerable)


def _questions(table: pa.Table, windows: Windows) -> list[Question]:
    contexts = table["context"].combine_chunks()
    texts = contexts.dictionary.to_pylist()
    count = np.bincount(windows.example, minlength=len(table)).tolist()
    golds, starts, ends = (table[name].to_pylist() for name in ("gold_texts", "span_starts", "span_ends"))
    rows = zip(table["id"].to_pylist(), table["question"].to_pylist(), contexts.indices.to_pylist(), strict=True)
    return [
        Question(
            row=row,
            id=id_,
            question=question,
            context=texts[context],
            golds=None if golds[row] is None else tuple(golds[row]),
            windows=count[row],
            gold_spans=tuple(
                None if start is None else (start, end)
                for start, end in zip(starts[row] or (), ends[row] or (), strict=True)
            ),
        )
        for row, (id_, question, context) in enumerate(rows)
    ]


def _summary(source: str, counts: dict[str, int], loaded: Loaded, alignment: str) -> str:
    parts = [f"{source}: {counts['questions']:,} questions, {counts['windows']:,} windows"]
    parts += [f"{count:,} questions dropped ({reason})" for reason, count in loaded.dropped.items() if count]
    if counts["questions_cut"]:
        parts.append(f"{counts['questions_cut']:,} questions cut at max_question_length")
    return "; ".join(parts) + f"; answers: {alignment}"

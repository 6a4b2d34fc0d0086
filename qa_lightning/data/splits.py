"""Builds a split: from examples to windows, with a report of what was repaired, cut and dropped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from qa_lightning.data.alignment import OnMisaligned, align
from qa_lightning.data.collate import WindowDataset
from qa_lightning.data.encode import AnswerChoice, TokenizedSplit, encode
from qa_lightning.data.examples import compact
from qa_lightning.data.sources import RawSplit
from qa_lightning.data.windows import Windows, add_gold_windows, holds_whole_gold
from qa_lightning.records import Question, WindowConfig
from qa_lightning.utils.errors import UserError

ANSWER_TOO_LONG = "answer longer than a window"
ANSWER_WITHOUT_TOKENS = "answer without a token"
"""Why training leaves a question out whose answer stands in its context; keys of a report's ``dropped`` and ``ids``."""


@dataclass(frozen=True, kw_only=True)
class SplitConfig(WindowConfig):
    """Settings of how examples become windows; see the arguments of `QADataModule`."""

    answers: AnswerChoice
    allow_impossible_windows: bool
    version_2_with_negative: bool
    on_misaligned: OnMisaligned
    cache_dir: Path | None
    null_at_end: bool = False


@dataclass(frozen=True)
class Split:
    """A split ready to be batched.

    Attributes:
        dataset: Its windows.
        table: The examples that the windows are cut from, with the schema ``alignment.ALIGNED``.
        report: What was read, repaired, cut and dropped, as plain data for a JSON file. ``questions`` and ``windows``
            are those that are there (in training: that are trained on), ``dropped`` counts the questions that are
            not, by reason; ``windows_added`` are those that hold an answer which lies across the border of two
            others, ``windows_dropped`` those that training leaves out; ``renamed_ids``, ``overruled_answers`` and
            ``offsets`` are as in `sources.RawSplit`; ``ids`` names the questions concerned.
        summary: The same in a line or two for people.
        config: How the examples became windows; None: they are windows of plain text.
    """

    dataset: WindowDataset
    table: pa.Table
    report: dict[str, Any]
    summary: str
    config: SplitConfig | None = None


def build_split(
    loaded: RawSplit, tokenizer: Any, config: SplitConfig, *, source: str, training: bool, name: str = ""
) -> Split:
    """Aligns, tokenises and cuts the examples of one split.

    Args:
        loaded: What `sources.read_examples` returned.
        tokenizer: A fast tokenizer of transformers.
        config: The settings.
        source: The name of the split in messages.
        training: Whether to leave out what nothing can be learnt from, and to make no questions for scoring.
        name: The evaluation set's name.

    Raises:
        UserError: Where the settings do not fit the tokenizer, or nothing is left.
    """
    table, alignment = align(loaded.table, on_misaligned=config.on_misaligned, training=training, source=source)
    if not len(table):
        raise UserError(f"{source}: no question is left: no answer was found in its context; check the columns")
    encoded = encode(
        table,
        tokenizer,
        max_question_length=config.max_question_length,
        answers=config.answers,
        cache_dir=config.cache_dir,
        null_at_end=config.null_at_end,
    )
    layout = encoded.layout
    config.check(layout.special_tokens)
    if config.version_2_with_negative:
        layout.require_null(
            tokenizer, "set version_2_with_negative: false with answerable questions, or choose another model"
        )
    left_out: dict[str, list[str]] = {}
    if training:
        table, encoded, left_out = _drop_unlearnable(table, encoded, config, source)
    windows = encoded.cut(config.max_length, config.doc_stride)
    ids = table["id"].to_pylist()
    counts = {"questions": len(table), "windows": len(windows)}
    counts["questions_cut"] = int(
        np.sum(encoded.questions.lengths[encoded.question_index] > config.max_question_length)
    )
    with_added_windows: list[str] = []
    if training:
        windows, more = add_gold_windows(
            windows, encoded.golds, encoded.contexts.lengths[encoded.context_index], _context_room(encoded, config)
        )
        with_added_windows = [ids[row] for row in more.tolist()]
        kept = windows.select(_trainable_windows(encoded, windows, config))
        counts |= {
            "windows": len(kept),
            "windows_added": len(with_added_windows),
            "windows_dropped": len(windows) - len(kept),
        }
        windows = kept
    questions = None if training else _make_questions(table, windows)
    dropped = loaded.dropped | {reason: len(names) for reason, names in left_out.items()}
    report = counts | {
        "dropped": dropped,
        "made_ids": loaded.made_ids,
        "renamed_ids": len(loaded.renamed_ids),
        "overruled_answers": len(loaded.overruled),
        "offsets": loaded.offsets,
        "ids": {
            "windows_added": with_added_windows,
            "renamed_ids": loaded.renamed_ids,
            "overruled_answers": loaded.overruled,
            **left_out,
        },
        "alignment": alignment.to_dict(),
    }
    return Split(
        WindowDataset(encoded, windows, ids, questions, name),
        table,
        report,
        _summary(source, counts, dropped, loaded, str(alignment)),
        config,
    )


def _context_room(encoded: TokenizedSplit, config: SplitConfig) -> NDArray[np.int64]:
    """Context tokens that a window of each example has room for; int64 ``[examples]``."""
    return config.max_length - encoded.layout.special_tokens - encoded.question_lengths


def _drop_unlearnable(
    table: pa.Table, encoded: TokenizedSplit, config: SplitConfig, source: str
) -> tuple[pa.Table, TokenizedSplit, dict[str, list[str]]]:
    """Drops the questions that would be trained as having no answer because no window can hold their answer.

    Returns:
        What is left of the table and of what was encoded, and the ids of the others by reason.

    Raises:
        UserError: Where nothing is left.
    """
    golds = encoded.golds
    example = np.repeat(np.arange(len(table)), np.diff(golds.bounds))
    fits = golds.last - golds.first < _context_room(encoded, config)[example]
    too_long = (np.diff(golds.bounds) > 0) & (np.bincount(example, fits, minlength=len(table)) == 0)
    reasons = {ANSWER_TOO_LONG: too_long, ANSWER_WITHOUT_TOKENS: encoded.unlabelled}
    left_out = {reason: table["id"].filter(pa.array(of)).to_pylist() for reason, of in reasons.items() if of.any()}
    keep = ~(too_long | encoded.unlabelled)
    if keep.all():
        return table, encoded, left_out
    if not keep.any():
        found = ", ".join(f"{reason}: {len(ids):,} questions" for reason, ids in left_out.items())
        raise UserError(f"{source}: no window holds an answer ({found}); raise max_length, or look at the answers")
    return compact(table.filter(pa.array(keep))), encoded.select(keep), left_out


def _trainable_windows(encoded: TokenizedSplit, windows: Windows, config: SplitConfig) -> NDArray[np.bool_]:
    """Selects the windows that are trained on; bool ``[windows]``."""
    if config.allow_impossible_windows and encoded.layout.null is not None:
        return np.ones(len(windows), dtype=bool)
    unanswerable = np.diff(encoded.golds.bounds)[windows.example] == 0
    return holds_whole_gold(windows, encoded.golds) | unanswerable


def _make_questions(table: pa.Table, windows: Windows) -> list[Question]:
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


def _summary(source: str, counts: dict[str, int], dropped: dict[str, int], loaded: RawSplit, alignment: str) -> str:
    parts = [f"{source}: {counts['questions']:,} questions, {counts['windows']:,} windows"]
    if counts.get("windows_added"):
        parts.append(f"{counts['windows_added']:,} windows added for answers that lie across the border of two")
    parts += [f"{count:,} questions dropped ({reason})" for reason, count in dropped.items() if count]
    if counts["questions_cut"]:
        parts.append(f"{counts['questions_cut']:,} questions cut at max_question_length")
    if loaded.renamed_ids:
        parts.append(f"{len(loaded.renamed_ids):,} repeated ids numbered")
    if loaded.overruled:
        parts.append(f"{len(loaded.overruled):,} questions have answers and is_impossible: trained as unanswerable")
    parts += [f"offsets of {Path(file).name} {note}" for file, note in loaded.offsets.items()]
    return "; ".join(parts) + f"; answers: {alignment}"

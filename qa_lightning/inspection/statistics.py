"""Measures a split, and draws examples from it: counts, lengths, and what windows and settings leave in reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qa_lightning.data.encode import AnswerChoice, select_gold_spans
from qa_lightning.data.splits import Split, SplitConfig
from qa_lightning.data.windows import add_gold_windows, locate_golds, window_gold_pairs
from qa_lightning.inspection.ceiling import Reach, covered, reachable
from qa_lightning.utils.arrays import IntArray

AROUND = 200
"""Characters of the context that an example shows on each side of its answer."""

_WORD = 20  # how far from there the next space may be


class Lengths(NamedTuple):
    """How lengths are distributed; of the percentiles, each is the least length that so many do not exceed."""

    least: int
    median: int
    mean: float
    percentile_90: int
    percentile_99: int
    most: int


@dataclass(frozen=True)
class Inspection:
    """A split in numbers. Those of questions are of the ones that are kept, as are the windows' and the scores'.

    Attributes:
        questions: Questions.
        contexts: Distinct contexts.
        unanswerable: Questions without a gold.
        golds_per_question: Mean over the answerable questions; 0 where there are none.
        most_golds: Golds of a question at most.
        dropped: Questions that training lost, by reason.
        questions_cut: Questions that are longer than ``max_question_length`` tokens.
        alignment: Golds (of dropped questions too) by kind; see `alignment.AlignmentReport`.
        lengths: By what is measured and its unit: distinct contexts, questions as published, all golds, in tokens
            those that tokens cover, and windows; None where there is nothing to measure.
        token_lengths: By what is measured, all the lengths in tokens that ``lengths`` sums up.
        windows: Windows that the questions are cut into.
        windows_added: How many of them only training has, for answers that lie across the border of two others.
        windows_dropped: How many of them training leaves out.
        most_windows: Windows of a question at most.
        questions_of_several_windows: Questions with more than one window.
        located: Golds that were located in their context.
        never_whole: How many of these no window holds whole.
        too_long: How many of these have more than ``max_answer_length`` tokens.
        rule: By which answers are scored, as `scoring.rules` has it.
        reach: The scores that can be reached.
    """

    questions: int
    contexts: int
    unanswerable: int
    golds_per_question: float
    most_golds: int
    dropped: dict[str, int]
    questions_cut: int
    alignment: dict[str, int]
    lengths: dict[tuple[str, str], Lengths | None]
    token_lengths: dict[str, IntArray]
    windows: int
    windows_added: int
    windows_dropped: int
    most_windows: int
    questions_of_several_windows: int
    located: int
    never_whole: int
    too_long: int
    rule: str
    reach: Reach


@dataclass(frozen=True)
class Example:
    """A question as people look at it.

    Attributes:
        id: Its id.
        question: Its text.
        before: The context in front of the answer, or its beginning where the question is unanswerable; shortened.
        answer: The characters of the context that are trained on, before tokens round them; None for no answer.
        after: The context behind the answer; shortened.
        label: The text of the tokens that are trained on; None for no answer, or where no token covers it.
        golds: The distinct published answers that read otherwise than ``answer``.
    """

    id: str
    question: str
    before: str
    answer: str | None
    after: str
    label: str | None
    golds: tuple[str, ...]


def inspect_split(split: Split, config: SplitConfig, *, max_answer_length: int, rule: str) -> Inspection:
    """Counts and measures one split.

    Args:
        split: A split whose golds are known.
        config: How it was made.
        max_answer_length: Tokens of an answer at most.
        rule: By which answers are scored, as `scoring.rules` has it.
    """
    table, encoded, report = split.table, split.dataset.encoded, split.report
    column = table["context"].combine_chunks()
    texts, context_index = column.dictionary.to_pylist(), column.indices.to_numpy()
    golds = table["gold_texts"].to_pylist()
    count = np.array([len(published) for published in golds])

    characters = np.array([len(text) for text in texts], dtype=np.int64)
    of_encoded = np.zeros(len(encoded.contexts.lengths), dtype=np.int64)
    of_encoded[encoded.context_index] = characters[context_index]
    starts, ends, bounds = select_gold_spans(table, "all")
    spans = locate_golds(
        starts, ends, np.repeat(encoded.context_index, np.diff(bounds)), bounds, encoded.contexts, of_encoded
    )
    answer_tokens = spans.last - spans.first + 1
    windows = encoded.cut(config.max_length, config.doc_stride)
    beside_context = encoded.layout.special_tokens + encoded.question_lengths
    evaluated = windows
    if "windows_added" in report:
        rooms = config.max_length - beside_context
        windows, _ = add_gold_windows(windows, encoded.golds, encoded.contexts.lengths[encoded.context_index], rooms)
    per_question = np.bincount(windows.example, minlength=len(table))
    _, gold, whole = window_gold_pairs(windows, spans)
    held = np.zeros(len(answer_tokens), dtype=bool)
    held[gold[whole]] = True

    reach = reachable(
        texts,
        context_index.tolist(),
        golds,
        encoded,
        evaluated,
        spans,
        max_answer_length=max_answer_length,
        null_allowed=config.version_2_with_negative,
        rule=rule,
    )
    _, first_use = np.unique(context_index, return_index=True)
    token_lengths: dict[str, IntArray] = {
        "question": encoded.questions.lengths[encoded.question_index],
        "context": encoded.contexts.lengths[encoded.context_index[first_use]],
        "answer": answer_tokens,
        "window": beside_context[windows.example] + windows.last - windows.first,
    }
    return Inspection(
        questions=len(table),
        contexts=len(texts),
        unanswerable=int(np.sum(count == 0)),
        golds_per_question=float(count[count > 0].mean()) if count.any() else 0.0,
        most_golds=int(count.max()),
        dropped={**report["dropped"], "no answer found": report["alignment"]["dropped_questions"]},
        questions_cut=report["questions_cut"],
        alignment=report["alignment"]["golds"],
        lengths={
            ("context", "characters"): _lengths(characters),
            ("context", "tokens"): _lengths(token_lengths["context"]),
            ("question", "characters"): _lengths([len(text) for text in table["question"].to_pylist()]),
            ("question", "tokens"): _lengths(token_lengths["question"]),
            ("answer", "characters"): _lengths([len(text) for published in golds for text in published]),
            ("answer", "tokens"): _lengths(token_lengths["answer"]),
            ("window", "tokens"): _lengths(token_lengths["window"]),
        },
        token_lengths=token_lengths,
        windows=len(windows),
        windows_added=report.get("windows_added", 0),
        windows_dropped=report.get("windows_dropped", 0),
        most_windows=int(per_question.max()),
        questions_of_several_windows=int(np.sum(per_question > 1)),
        located=len(starts),
        never_whole=len(starts) - int(held.sum()),
        too_long=int(np.sum(answer_tokens > max_answer_length)),
        rule=rule,
        reach=reach,
    )


def sample_examples(split: Split, answers: AnswerChoice, count: int, seed: int) -> list[Example]:
    """Some questions of a split, in its order.

    Args:
        split: The split.
        answers: Which of several golds are trained on; the first of them is shown.
        count: How many questions at most.
        seed: Of the draw.
    """
    table, encoded = split.table, split.dataset.encoded
    rows = drawn(split, count, seed)
    taken = table.take(rows)
    starts, ends, bounds = select_gold_spans(taken, answers)
    begins, finishes = covered(encoded, encoded.golds)
    examples = []
    for number, (row, example) in enumerate(zip(rows.tolist(), taken.to_pylist(), strict=True)):
        context, span, label = example["context"], None, None
        if bounds[number] < bounds[number + 1]:
            span = int(starts[bounds[number]]), int(ends[bounds[number]])
        at = encoded.golds.bounds[row]
        if at < encoded.golds.bounds[row + 1]:
            label = context[begins[at] : finishes[at]]
        before, answer, after = around(context, span)
        others = tuple(text for text in dict.fromkeys(example["gold_texts"]) if text != answer)
        examples.append(Example(example["id"], example["question"], before, answer, after, label, others))
    return examples


def drawn(split: Split, count: int, seed: int) -> NDArray[np.int64]:
    """Rows of some questions of a split, ascending; a smaller count draws some of the same."""
    return np.sort(np.random.default_rng(seed).permutation(len(split.table))[:count])


def around(context: str, span: tuple[int, int] | None) -> tuple[str, str | None, str]:
    """The context in front of a span, the span, and the context behind it, shortened, between words if there are."""
    start, end = span or (0, 0)
    before, after = context[:start], context[end:]
    if len(before) > AROUND:
        before = before[-AROUND:]
        before = "…" + before[before.find(" ", 0, _WORD) + 1 :]
    room = AROUND if span else 2 * AROUND
    if len(after) > room:
        space = after.rfind(" ", room - _WORD, room)
        after = after[: room if space < 0 else space] + "…"
    return before, context[start:end] if span else None, after


def _lengths(values: Sequence[int] | NDArray[np.integer]) -> Lengths | None:
    if not len(values):
        return None
    steps = np.percentile(values, [0, 50, 90, 99, 100], method="inverted_cdf").astype(int).tolist()
    least, median, percentile_90, percentile_99, most = steps
    return Lengths(least, median, float(np.mean(values)), percentile_90, percentile_99, most)

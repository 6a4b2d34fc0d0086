"""Perfect logits through the whole journey: what a flawless model scores, in every script and tokenizer family."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import normalizers
from torch import Tensor

from qa_lightning.data.batching import EvaluationBatchSampler
from qa_lightning.data.collate import WindowDataset
from qa_lightning.data.sources import RawSplit
from qa_lightning.data.tokens import plain_backend
from qa_lightning.decoding.answers import AnswerCollector, to_answer_rows, window_answers
from qa_lightning.decoding.spans import best_spans, null_logits, to_characters
from qa_lightning.records import Batch, Prediction
from qa_lightning.scoring.metric import ExtractiveQA
from tests.data.prepared import covered, prepare, read, rows
from tests.data.tokenizers import FAMILIES, build, characters, word_level

UNCUT = {"max_length": 1 << 20, "max_question_length": 1 << 16}


def perfect_logits(batch: Batch) -> tuple[Tensor, Tensor]:
    """10 where the label is, 0 elsewhere."""
    start, end = (
        torch.zeros(batch.context_mask.shape).scatter(1, positions.clamp(min=0), 10.0 * (positions >= 0))
        for positions in (batch.starts, batch.ends)
    )
    return start, end


def predict(dataset: WindowDataset, null_allowed: bool, max_answer_length: int) -> list[Prediction]:
    """What decoding makes of perfect logits; one prediction for each question, in the data's order."""
    collector = AnswerCollector(null_allowed=null_allowed, null_score_diff_threshold=0.0)
    predictions = []
    for chosen in EvaluationBatchSampler(dataset.windows, dataset.lengths, 32 * int(dataset.lengths.max())):
        batch = dataset[chosen]
        assert batch.questions is not None
        assert batch.offsets is not None
        start, end = perfect_logits(batch)
        spans = best_spans(start, end, batch.context_mask, 2, max_answer_length)
        null = null_logits(start, end, batch.null_position)
        edges = to_characters(spans, batch.offsets)
        windows = window_answers(*edges, spans.start_logits, spans.end_logits, *null)
        predictions += collector.add(batch.questions, to_answer_rows(windows))
    predictions.sort(key=lambda prediction: prediction.question.row)
    assert [prediction.question.id for prediction in predictions] == dataset.ids
    return predictions


def scores(predictions: Iterable[Prediction]) -> dict[str, float]:
    metric = ExtractiveQA()
    metric.update(list(predictions))
    return metric.compute()


def reachable(loaded: RawSplit, tokenizer: Any) -> list[bool]:
    """Whether each question's first gold starts and ends where tokens do, and inside none; true where it has none."""
    table, backend = loaded.table, plain_backend(tokenizer)
    contexts = table["context"].combine_chunks()
    texts = contexts.dictionary.to_pylist()
    tokens = [covered(text, backend.encode(text, add_special_tokens=False).offsets) for text in texts]
    columns = (column.to_pylist() for column in (contexts.indices, table["gold_texts"], table["gold_starts"]))
    found = []
    for row, golds, begins in zip(*columns, strict=True):
        if golds:
            start, end = begins[0], begins[0] + len(golds[0])
            assert texts[row][start:end] == golds[0]
            start, end = end - len(golds[0].lstrip()), start + len(golds[0].rstrip())
            spans = [span for span in tokens[row] if span]
            at_edges = any(first == start for first, _ in spans) and any(last == end for _, last in spans)
            inside = any(first < start < last or first < end < last for first, last in spans)
        found.append(not golds or (at_edges and not inside))
    return found


def check(loaded: RawSplit, tokenizer: Any, null_allowed: bool) -> tuple[list[str], int]:
    """Goes the whole way, with one window for each question and with many.

    Every gold that tokens can reach must come out as it is, and score so.

    Returns:
        The golds that cannot be reached, with what was answered instead, and how many the many windows were.
    """
    right = reachable(loaded, tokenizer)
    uncut = prepare(loaded, tokenizer, version_2_with_negative=null_allowed, **UNCUT).dataset
    encoded = uncut.encoded
    longest_gold = int((encoded.golds.last - encoded.golds.first).max()) + 1
    longest_question = int(encoded.question_lengths.max())
    narrow = {
        "max_length": longest_question + encoded.layout.special_tokens + longest_gold + 16,
        "max_question_length": longest_question,
        "doc_stride": longest_gold,
    }
    described = []
    many = prepare(loaded, tokenizer, version_2_with_negative=null_allowed, **narrow).dataset
    for dataset in (uncut, many):
        predictions = predict(dataset, null_allowed, longest_gold)
        pairs = [((prediction.question.golds or ("",))[0], prediction.text) for prediction in predictions]
        assert [gold.strip() == text for gold, text in pairs] == right
        figures = scores(prediction for prediction, reached in zip(predictions, right, strict=True) if reached)
        assert figures["exact_match"] == figures["f1"] == 100.0
        assert figures["total"] == sum(right)
        if null_allowed:
            assert figures["best_exact"] == figures["best_f1"] == 100.0
        missed = [pair for pair, reached in zip(pairs, right, strict=True) if not reached]
        assert all(gold.strip() in text for gold, text in missed)
        described.append([f"{gold!r} was answered with {text!r}" for gold, text in missed])
    assert described[0] == described[1]
    return described[0], len(many)


def test_by_hand() -> None:
    loaded = rows("ada wrote it , and grace built it", ("grace",), (), ("wrote it", "ada"), ("built it",), ("it",))
    words = "ada wrote it , and grace built who ?".split()
    assert check(loaded, word_level(words), null_allowed=True) == ([], 5)
    assert check(loaded, word_level(words, padding_side="left"), null_allowed=True) == ([], 5)


def test_a_gold_inside_a_token_is_listed() -> None:
    loaded = rows("ada wrote programs", ("program",), (" wrote ",), ("da",))
    words = "ada wrote programs who ?".split()
    assert check(loaded, word_level(words), null_allowed=False)[0] == [
        "'program' was answered with 'programs'",
        "'da' was answered with 'ada'",
    ]
    assert check(loaded, characters(), null_allowed=False)[0] == []


def test_marks_that_a_tokenizer_drops_are_part_of_the_answer() -> None:
    tokenizer = word_level("हर पच सल म ada e who ?".split())
    tokenizer.backend_tokenizer.normalizer = normalizers.BertNormalizer()
    loaded = rows("हर पाँच साल में e\u0301 ada", ("हर पाँच साल में",), ("e\u0301",), ("ada",))
    assert check(loaded, tokenizer, null_allowed=False)[0] == []


# How many golds start or end inside a token, by file and family. The two parts of a language hold what its file holds;
# Vietnamese stands here in parts, of which the smaller is quick.
INSIDE = """
                   bert-uncased  bert-cased  bert-left  roberta  xlnet  xlm-roberta  albert  t5  word-level  llama  qwen
xquad.en                      1           1          1       13      8            8       8   8          13     13    12
xquad.es                      2           1          2       16     13           13      14  13          20     16    15
xquad.de                      1           1          1        7      5            4       5   4          14      7     7
xquad.zh                      0           0          0        1      1            1       1   1         152      1     2
xquad.ar                      0          23          0       10     12           10      12  10          38     10    10
xquad.hi                      4           6          4        5      5            5       5   5           9      5     4
xquad.vi.train                2           2          2       18     13           13      13  13          19     18    17
xquad.vi.dev                  0           0          0        2      1            1       1   1           5      2     2
xquad.en.v2.train             1           1          1       11      7            7       7   7          11     11     -
xquad.en.v2.dev               0           0          0        2      1            1       1   1           2      2     -
policyqa.dev                 35          36         35       39     32           32      34  32          39     39    39
policyqa.v2.dev              35          36         35       39     32           32      34  32          39     39     -
"""
QUICK = ("xquad.vi.dev", "xquad.en.v2.dev")


def cases() -> Iterator[Any]:
    header, *lines = INSIDE.strip().splitlines()
    for file, *counts in map(str.split, lines):
        for family, count in zip(header.split(), counts, strict=True):
            # qwen has no special token, so it cannot be trained to leave a question open.
            if count != "-":
                marks = () if file in QUICK else pytest.mark.slow
                yield pytest.param(file, family, int(count), marks=marks, id=f"{file}-{family}")


@pytest.mark.parametrize(("file", "family", "inside"), list(cases()))
def test_a_flawless_model_is_right_where_tokens_allow_it(file: str, family: str, inside: int, shared: Path) -> None:
    loaded = read(shared / f"data/{file}.json")
    missed, windows = check(loaded, build(family, shared), null_allowed=".v2." in file)
    print(*missed, sep="\n")
    assert len(missed) == inside
    # PolicyQA's answers are as long as its passages, which leaves nothing to cut.
    assert windows > 1.5 * len(loaded.table) or file.startswith("policyqa")


def test_the_table_has_every_family() -> None:
    assert INSIDE.split()[: len(FAMILIES)] == list(FAMILIES)

"""From examples to windows: what is kept, what is refused, what is reported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import normalizers

from qa_lightning.data.sources import read_examples, rows_to_examples
from qa_lightning.data.splits import Split
from qa_lightning.data.windows import window_gold_pairs
from qa_lightning.scoring.squad import normalize
from qa_lightning.utils.errors import UserError
from tests.data.prepared import prepare, rows
from tests.data.tokenizers import build, characters, word_level
from tests.tiny import WORDS, tiny_tokenizer

SHORT = {"max_length": 12, "doc_stride": 2, "max_question_length": 4}


def test_questions_know_their_place_golds_and_windows() -> None:
    loaded = rows("ada wrote the first program in london .", ("ada",), (), ("london", "in london"))
    split = prepare(loaded, tiny_tokenizer(), version_2_with_negative=True, **SHORT)
    questions = split.dataset.questions
    assert questions is not None
    assert [(question.row, question.id, question.golds, question.windows) for question in questions] == [
        (0, "0", ("ada",), 2),
        (1, "1", (), 2),
        (2, "2", ("london", "in london"), 2),
    ]
    assert len(split.dataset) == sum(question.windows for question in questions)


def test_evaluation_keeps_the_published_gold_that_cannot_be_found() -> None:
    loaded = rows("ada wrote the program .", ("ada",), ("grace",))
    evaluation = prepare(loaded, tiny_tokenizer())
    assert evaluation.dataset.questions is not None
    assert [question.golds for question in evaluation.dataset.questions] == [("ada",), ("grace",)]
    batch = evaluation.dataset[np.arange(len(evaluation.dataset))]
    assert (batch.starts[:, 0] >= 0).tolist() == [True, False]
    training = prepare(loaded, tiny_tokenizer(), training=True)
    assert training.dataset.ids == ["0"]
    assert training.report["alignment"]["dropped_questions"] == 1
    assert training.report["alignment"]["ids"]["not_found"] == ["1"]


def test_nothing_to_learn_from() -> None:
    with pytest.raises(UserError, match="rows: no question is left"):
        prepare(rows("ada wrote .", ("grace",)), tiny_tokenizer(), training=True)
    # An answer that is longer than a window is in none of them.
    loaded = rows("ada wrote the first program in london .", ("ada wrote the first program in london .",))
    for allowed in (False, True):
        with pytest.raises(UserError, match="rows: no window holds an answer"):
            prepare(loaded, tiny_tokenizer(), training=True, allow_impossible_windows=allowed, **SHORT)
    assert len(prepare(loaded, tiny_tokenizer(), **SHORT).dataset) == 2


# Answers that no window holds


def trained_on(split: Split) -> list[tuple[str, list[int], int]]:
    """Of each window: the question's id, the first context token of each labelled gold, -1 for null, and the length."""
    batch = split.dataset[np.arange(len(split.dataset))]
    lengths = split.dataset.lengths.tolist()
    return [
        (id_, [-1 if start == null else start for start in starts if start >= 0], length)
        for id_, starts, null, length in zip(
            batch.ids, batch.starts.tolist(), batch.null_position.tolist(), lengths, strict=True
        )
    ]


CONTEXT = "ada wrote the first program in london and grace built a compiler in paris ."
# With a question of 2 tokens and 3 special ones, 7 of the 15 tokens fit into a window: 0 to 6, 5 to 11, 10 to 14.


def test_an_answer_across_the_border_of_two_windows_gets_a_window_of_its_own() -> None:
    loaded = rows(CONTEXT, ("ada",), ("program in london and",), (), ("first program in london and grace built",))
    settings = SHORT | {"version_2_with_negative": True}
    split = prepare(loaded, tiny_tokenizer(), training=True, **settings)
    windows = [
        (split.dataset.ids[example], first, last)
        for example, first, last in zip(
            *(getattr(split.dataset.windows, name).tolist() for name in ("example", "first", "last")), strict=True
        )
    ]
    regular = [(0, 7), (5, 12), (10, 15)]
    assert windows == [
        *(("0", *span) for span in regular),
        *(("1", *span) for span in [(0, 7), (3, 10), (5, 12), (10, 15)]),
        *(("2", *span) for span in regular),
        *(("3", *span) for span in [(0, 7), (3, 10), (5, 12), (10, 15)]),
    ]
    assert [label for id_, (label,), _ in trained_on(split) if id_ == "1"] == [-1, 5, -1, -1]
    assert [label for id_, (label,), _ in trained_on(split) if id_ == "3"] == [-1, 4, -1, -1]
    assert split.report["windows"] == 14
    assert split.report["windows_added"] == 2
    assert split.report["ids"]["windows_added"] == ["1", "3"]
    assert split.summary.startswith(
        "rows: 4 questions, 14 windows; 2 windows added for answers that lie across the border of two; answers: "
    )
    evaluation = prepare(loaded, tiny_tokenizer(), **settings)
    assert len(evaluation.dataset) == 12
    assert "windows_added" not in evaluation.report


def test_one_window_that_holds_an_answer_is_enough() -> None:
    loaded = rows(CONTEXT, ("program in london and", "london"), ("program in london and", "ada wrote"))
    split = prepare(loaded, tiny_tokenizer(), training=True, answers="all", **SHORT)
    assert split.report["windows_added"] == 0
    split = prepare(loaded, tiny_tokenizer(), training=True, **SHORT)
    assert split.report["ids"]["windows_added"] == ["0", "1"]


def test_questions_whose_answer_fits_into_no_window_are_left_out() -> None:
    long = "ada wrote the first program in london and"
    loaded = rows(CONTEXT, (long,), ("ada",), (long, "london and"), ())
    settings = SHORT | {"version_2_with_negative": True}
    split = prepare(loaded, tiny_tokenizer(), training=True, **settings)
    assert split.dataset.ids == split.table["id"].to_pylist() == ["1", "3"]
    assert {id_ for id_, _, _ in trained_on(split)} == {"1", "3"}
    assert (split.report["questions"], split.report["windows"], split.report["windows_dropped"]) == (2, 6, 0)
    assert split.report["dropped"] == {"answer longer than a window": 2}
    assert {name: ids for name, ids in split.report["ids"].items() if ids} == {
        "answer longer than a window": ["0", "2"]
    }
    assert "; 2 questions dropped (answer longer than a window); " in split.summary
    # Another gold that is trained on may fit.
    split = prepare(loaded, tiny_tokenizer(), training=True, answers="all", **settings)
    assert split.report["ids"]["answer longer than a window"] == ["0"]
    # A longer question leaves less room.
    loaded = rows(CONTEXT, ("first program in london and grace built",), ("ada",), question="who wrote it ?")
    assert prepare(loaded, tiny_tokenizer(), training=True, **SHORT).dataset.ids == ["1"]


def test_an_answer_without_tokens_is_counted_and_named() -> None:
    tokenizer = characters()
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace("b", "")
    split = prepare(rows("a b c", ("b",), ("c",)), tokenizer, training=True)
    assert split.report["questions"] == len(split.dataset) == 1
    assert split.report["dropped"] == {"answer without a token": 1}
    assert split.report["ids"]["answer without a token"] == ["0"]
    assert "1 questions dropped (answer without a token)" in split.summary


def test_counts_are_of_what_is_trained_on_where_impossible_windows_are_not() -> None:
    long = "ada wrote the first program in london and"
    loaded = rows(CONTEXT, (long,), ("ada",), ("program in london and",), ())
    settings = SHORT | {"version_2_with_negative": True, "allow_impossible_windows": False}
    split = prepare(loaded, tiny_tokenizer(), training=True, **settings)
    assert [(id_, labels) for id_, labels, _ in trained_on(split)] == [
        ("1", [4]),
        ("2", [5]),
        *([("3", [-1])] * 3),
    ]
    assert (split.report["questions"], split.report["windows"]) == (3, 5)
    assert (split.report["windows_added"], split.report["windows_dropped"]) == (1, 5)


@pytest.mark.parametrize("tokens", [140, 220, 340])
def test_long_answers_at_random_places_are_all_trained_on(tokens: int) -> None:
    """At 384/128; without windows of their own, 5 of 200, 66 of 200 and 177 of 200 would be trained as null."""
    random = np.random.default_rng(0)
    words = (WORDS * 150)[:3000]
    starts = random.integers(0, len(words) - tokens, 200).tolist()
    at = np.cumsum([0, *(len(word) + 1 for word in words)]).tolist()
    context = " ".join(words)
    questions = [
        {
            "id": str(n),
            "question": "who ?",
            "context": context,
            "answers": {"text": [gold], "answer_start": [at[start]]},
        }
        for n, start in enumerate(starts)
        for gold in [" ".join(words[start : start + tokens])]
    ]
    loaded = rows_to_examples(questions, source="rows")
    split = prepare(loaded, word_level(WORDS), training=True)
    window, _, whole = window_gold_pairs(split.dataset.windows, split.dataset.encoded.golds)
    assert set(split.dataset.windows.example[window[whole]].tolist()) == set(range(200))
    assert (np.diff(split.dataset.windows.example) >= 0).all()
    assert split.dataset.lengths.max() == 384
    regular = len(prepare(loaded, word_level(WORDS)).dataset)
    assert split.report["windows"] == len(split.dataset) == regular + split.report["windows_added"]
    assert {140: 0, 220: 40, 340: 150}[tokens] < split.report["windows_added"] < {140: 25, 220: 100, 340: 200}[tokens]


def test_the_case_of_an_answer_longer_than_a_window(shared: Path) -> None:
    files = str(shared / "cases/answer-longer-than-window.json")
    loaded = read_examples(split="train", files=files, training=True)
    split = prepare(loaded, build("bert-uncased", shared), training=True)
    assert split.dataset.ids == ["short", "last"]
    assert split.report["ids"]["answer longer than a window"] == ["long"]
    assert split.summary.startswith("rows: 2 questions, 4 windows; 1 questions dropped (answer longer than a window)")
    split = prepare(loaded, build("bert-uncased", shared), training=True, max_length=560)
    assert split.report["questions"] == 3
    assert "long" in [id_ for id_, (label,), _ in trained_on(split) if label >= 0]


def test_without_a_special_token_null_is_refused_and_answerless_windows_are_left_out() -> None:
    tokenizer = characters(padding_side="left")
    loaded = rows("abcdef", ("b",), question="?")
    settings = {"max_length": 5, "doc_stride": 1, "max_question_length": 1}
    kept = prepare(loaded, tokenizer, training=True, **settings)
    assert kept.report["windows_dropped"] > 0
    batch = kept.dataset[np.arange(len(kept.dataset))]
    assert (batch.starts >= 0).all()
    assert (batch.null_position == -1).all()
    with pytest.raises(UserError, match="adds no special token at which 'no answer' could be scored"):
        prepare(loaded, tokenizer, training=True, version_2_with_negative=True, **settings)


def test_the_summary_says_what_was_done() -> None:
    long = {"id": "long", "question": "who " * 9, "context": "Ada wrote .", "answers": "ada"}
    split = prepare(rows_to_examples([long], source="rows"), tiny_tokenizer(), training=True, max_question_length=5)
    assert split.summary == (
        "rows: 1 questions, 1 windows; 1 questions cut at max_question_length; answers: 1 golds, 1 repaired (case 1)"
    )


def _labels(split: Split) -> list[tuple[str, str]]:
    """Each question's id with the characters that its labels cover, from the first window that is labelled."""
    dataset: Any = split.dataset
    batch = dataset[np.arange(len(dataset))]
    texts: dict[str, str] = {}
    for row, (id_, start, end, null) in enumerate(
        zip(batch.ids, batch.starts[:, 0], batch.ends[:, 0], batch.null_position, strict=True)
    ):
        if start >= 0 and start != null and id_ not in texts:
            context = batch.questions[row].context
            texts[id_] = context[batch.offsets[row, start, 0] : batch.offsets[row, end, 1]]
    return list(texts.items())


def test_repair_is_the_difference_between_learning_and_noise(shared: Path, show: Callable[[str, str], None]) -> None:
    """On machine-translated SQuAD: what one trains on by offsets alone, and what remains after repair."""
    files = str(shared / "data/squad-pt.train.json")
    loaded = read_examples(split="train", files=files, training=False)
    wanted = {
        id_: texts[0]
        for id_, texts in zip(*(loaded.table[name].to_pylist() for name in ("id", "gold_texts")), strict=True)
    }
    contexts, starts = (loaded.table[name].to_pylist() for name in ("context", "gold_starts"))
    by_offset = [
        context[start[0] : start[0] + len(gold)]
        for context, start, gold in zip(contexts, starts, wanted.values(), strict=True)
    ]
    wrong_by_offset = sum(normalize(a) != normalize(b) for a, b in zip(by_offset, wanted.values(), strict=True))
    split = prepare(loaded, build("bert-uncased", shared), max_length=512, max_question_length=128)
    labels = _labels(split)
    wrong = [(text, wanted[id_]) for id_, text in labels if normalize(text) != normalize(wanted[id_])]
    show(
        "labels of squad-pt.train",
        f"of {len(wanted)} answers, offsets alone label {wrong_by_offset} wrongly; "
        f"repair labels {len(labels)}, {len(wrong)} of them not exactly: {wrong[:5]}",
    )
    assert len(wanted) == 1987
    assert wrong_by_offset > 600
    assert len(labels) == 1444
    # What remains are golds that start or end inside a token, such as "7" in "1817".
    assert len(wrong) == 41

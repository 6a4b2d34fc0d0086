"""From examples to windows: what is kept, what is refused, what is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qa_lightning.data.sources import read_examples, rows_to_examples
from qa_lightning.data.splits import Split
from qa_lightning.errors import UserError
from qa_lightning.scoring.squad import normalize
from tests.data.prepared import prepare, rows
from tests.data.tokenizers import build, characters
from tests.tiny import tiny_tokenizer

SHORT = {"max_length": 12, "doc_stride": 2, "max_question_length": 4}


def test_questions_know_their_place_golds_and_windows() -> None:
    loaded = rows("ada wrote the first program in london .", ("ada",), (), ("london", "in london"))
    split = prepare(loaded, tiny_tokenizer(), version_2_with_negative=True, **SHORT)
    questions = split.dataset.questions
    assert questions is not None
    assert [(one.row, one.id, one.golds, one.windows) for one in questions] == [
        (0, "0", ("ada",), 2),
        (1, "1", (), 2),
        (2, "2", ("london", "in london"), 2),
    ]
    assert len(split.dataset) == sum(one.windows for one in questions)


def test_evaluation_keeps_the_published_gold_that_cannot_be_found() -> None:
    loaded = rows("ada wrote the program .", ("ada",), ("grace",))
    evaluation = prepare(loaded, tiny_tokenizer())
    assert evaluation.dataset.questions is not None
    assert [one.golds for one in evaluation.dataset.questions] == [("ada",), ("grace",)]
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
    with pytest.raises(UserError, match="rows: no window holds an answer"):
        prepare(loaded, tiny_tokenizer(), training=True, allow_impossible_windows=False, **SHORT)
    assert len(prepare(loaded, tiny_tokenizer(), training=True, **SHORT).dataset) == 2


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


def test_the_summary_tells_what_was_done() -> None:
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

"""The table of questions: its values, its file, and what is said where there is none."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qa_lightning.records import Answer, Answers, Prediction, Question
from qa_lightning.runs import questions
from qa_lightning.runs.folder import QUESTIONS
from qa_lightning.runs.questions import SCHEMA, read_questions, read_table, scored_by, tabulate, write_table
from qa_lightning.scoring.rules import SQUAD_V2
from qa_lightning.utils.errors import UserError

CONTEXT = "Ada wrote the first program in London."
LONDON = Answer("in London", 28, 37, 1.0, 2.0, 0.5)
NULL = Answer("", 0, 0, 2.0, 2.5, 0.375)


def predict(row: int, text: str, golds: tuple[str, ...] | None, **options: object) -> Prediction:
    spans = tuple((CONTEXT.find(gold), CONTEXT.find(gold) + len(gold)) for gold in golds or ())
    question = Question(row, f"q{row}", "Where did Ada write?", CONTEXT, golds, 2, spans)
    return Prediction(question, text, **{"answers": Answers.of(CONTEXT, [LONDON, NULL]), "null_odds": 1.5} | options)


def test_a_row_by_hand() -> None:
    table = tabulate([predict(0, "", ("London", "program"))], SQUAD_V2)
    assert table.schema == SCHEMA
    (row,) = table.to_pylist()
    assert row == {
        "row": 0,
        "id": "q0",
        "question": "Where did Ada write?",
        "question_type": "where",
        "context": CONTEXT,
        "golds": [{"text": "London", "start": 31, "end": 37}, {"text": "program", "start": 20, "end": 27}],
        "prediction": "",
        "exact_match": 0.0,
        "f1": 0.0,
        "span_exact_match": 0.0,
        "span_f1": pytest.approx(200 / 3),
        "null_exact_match": 0.0,
        "null_f1": 0.0,
        "null_odds": 1.5,
        "na_prob": 0.375,
        "score": 4.5,
        "probability": 0.375,
        "question_length": 20,
        "context_length": 38,
        "answer_length": 6,
        "windows": 2,
        "answers": [
            {"text": "in London", "start": 28, "end": 37, "start_logit": 1, "end_logit": 2, "probability": 0.5},
            {"text": "", "start": 0, "end": 0, "start_logit": 2, "end_logit": 2.5, "probability": 0.375},
        ],
    }


def test_what_is_not_known_is_null() -> None:
    unanswerable = predict(0, "in London", ())
    unknown = predict(1, "", None, answers=Answers.of(CONTEXT, []), null_odds=None)
    first, second = tabulate([unknown, unanswerable], SQUAD_V2).to_pylist()
    assert (first["golds"], first["answer_length"], first["f1"], first["span_f1"]) == ([], None, 0, 0)
    assert (first["score"], first["probability"]) == (3, 0.5)
    nothing = ("golds", "exact_match", "f1", "span_exact_match", "span_f1", "null_exact_match", "null_f1")
    nothing += ("null_odds", "na_prob", "score", "probability", "answer_length")
    assert {second[name] for name in nothing} == {None}


def test_answers_are_scored_by_the_rule_or_not_at_all() -> None:
    prediction = predict(0, "in London", ("der in London",))
    assert tabulate([prediction], "de")["exact_match"].to_pylist() == [100]
    assert tabulate([prediction], SQUAD_V2)["exact_match"].to_pylist() == [0]
    assert tabulate([prediction], None)["exact_match"].to_pylist() == [None]
    assert [scored_by(tabulate([prediction], rule)) for rule in ("de", SQUAD_V2, None)] == ["de", SQUAD_V2, ""]


def test_a_gold_that_was_not_located_has_no_span() -> None:
    question = Question(0, "q", "?", CONTEXT, ("Paris", "Ada"), 1, (None, (0, 3)))
    (row,) = tabulate([Prediction(question, "", Answers.of(CONTEXT, []), None)], SQUAD_V2).to_pylist()
    assert row["golds"] == [{"text": "Paris", "start": None, "end": None}, {"text": "Ada", "start": 0, "end": 3}]


def test_answers_of_any_script_keep_their_texts() -> None:
    context = "Zürich 😀 東京 a"
    texts = ["東京", "", "Zürich 😀", "a", "😀"]
    starts = [context.find(text) if text else 0 for text in texts]
    answers = [Answer(t, start, start + len(t), 0.0, 0.0, 0.0) for t, start in zip(texts, starts, strict=True)]
    question = Question(0, "q", "?", context, None, 1)
    table = tabulate([Prediction(question, texts[0], Answers.of(context, answers), None)], None)
    table.validate(full=True)
    assert [answer["text"] for answer in table["answers"][0].as_py()] == texts


@pytest.mark.parametrize("count", [0, 1, 30])
def test_a_table_is_read_as_it_was_written(tmp_path: Path, count: int) -> None:
    predictions = [predict(row, "in London", ("Ada",)) for row in range(count)]
    table = tabulate(predictions[::-1], SQUAD_V2)
    assert table["row"].to_pylist() == list(range(count))
    write_table(tmp_path / "run" / QUESTIONS, table)
    assert read_table(tmp_path / "run" / QUESTIONS).equals(table)
    assert scored_by(read_table(tmp_path / "run" / QUESTIONS)) == SQUAD_V2
    assert read_questions(tmp_path / "run").equals(table)
    assert os.listdir(tmp_path / "run") == [QUESTIONS]


def test_a_table_made_in_parts_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    predictions = [predict(row, "in London", ("Ada",) * (row % 3)) for row in range(30)]
    whole = tabulate(predictions, SQUAD_V2)
    monkeypatch.setattr(questions, "_PART", 7)
    assert tabulate(predictions, SQUAD_V2).equals(whole)
    assert [context.dictionary.to_pylist() for context in tabulate(predictions, None)["context"].chunks] == 5 * [
        [CONTEXT]
    ]


def test_every_context_is_kept_once(tmp_path: Path) -> None:
    table = tabulate([predict(row, "in London", ("Ada",)) for row in range(30)], SQUAD_V2)
    write_table(tmp_path / QUESTIONS, table)
    (context,) = read_table(tmp_path / QUESTIONS)["context"].chunks
    assert context.dictionary.to_pylist() == [CONTEXT]


def test_a_run_without_scores_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no per-question scores there .*run validate or test first"):
        read_questions(tmp_path)
    write_table(tmp_path / "vi" / QUESTIONS, tabulate([], SQUAD_V2))
    with pytest.raises(UserError, match="its folders vi have some: name one of these"):
        read_questions(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"id,f1\n"])
def test_a_file_of_another_form_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / QUESTIONS).write_bytes(content)
    with pytest.raises(UserError, match=f"{QUESTIONS}: not a table of per-question scores: "):
        read_questions(tmp_path)


@pytest.mark.parametrize("missing", SCHEMA.names)
def test_a_table_that_lacks_a_column_is_refused(tmp_path: Path, missing: str) -> None:
    pq.write_table(tabulate([predict(0, "", ("Ada",))], SQUAD_V2).drop_columns(missing), tmp_path / QUESTIONS)
    with pytest.raises(UserError, match=f"{QUESTIONS}: not a table of per-question scores: it has no column {missing}"):
        read_questions(tmp_path)


def test_a_column_of_another_type_is_refused(tmp_path: Path) -> None:
    table = tabulate([predict(0, "", ("Ada",))], SQUAD_V2)
    place = table.column_names.index("f1")
    pq.write_table(table.set_column(place, "f1", pa.array(["high"])), tmp_path / QUESTIONS)
    with pytest.raises(UserError, match=f"{QUESTIONS}: not a table of per-question scores: "):
        read_questions(tmp_path)

"""Scores and answers as tables, and that text from data is only text."""

from __future__ import annotations

import pyarrow as pa
import pytest

from qa_lightning.callbacks.tables import COLUMNS, print_samples, print_scores, sample_rows
from qa_lightning.records import Answer, Answers, Prediction, Question
from qa_lightning.runs.questions import tabulate
from qa_lightning.scoring.rules import SQUAD_V2

CONTEXT = "Ada met Bob."
ESCAPE = "\x1b[2J\x1b[31m"


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")


def prediction(
    text: str = "Ada",
    golds: tuple[str, ...] | None = ("Ada",),
    question: str = "Who?",
    answers: tuple[Answer, ...] = (),
) -> Prediction:
    spans = ((0, 1),) * len(golds or ())
    asked = Question(0, "q1", question, CONTEXT, golds, 1, spans)
    return Prediction(asked, text, Answers.of(CONTEXT, answers), None)


def table(*predictions: Prediction) -> pa.Table:
    return tabulate(predictions, SQUAD_V2)


def answer(text: str, probability: float) -> Answer:
    start = CONTEXT.index(text)
    return Answer(text, start, start + len(text), 1.0, 1.0, probability)


def test_a_row_shows_the_question_the_answers_and_how_sure_it_is() -> None:
    predicted = prediction(golds=("Ada", "Ada", "Lovelace"), answers=(answer("", 0.75), answer("Ada", 0.25)))
    assert COLUMNS == ("id", "question", "prediction", "gold", "probability")
    assert sample_rows(table(predicted)) == [["q1", "Who?", "Ada", "Ada | Lovelace", 0.25]]


def test_unanswerable_and_unknown_golds_differ() -> None:
    rows = sample_rows(table(prediction("", (), answers=(answer("", 0.5),)), prediction("", None)))
    assert [row[2:] for row in rows] == [["", "", 0.5], ["", None, None]]


def test_scores_are_printed_with_two_digits(capsys: pytest.CaptureFixture[str]) -> None:
    print_scores({"val/f1": 38.456, "step": 12345, "val/total": 240.0})
    text = capsys.readouterr().out
    assert "38.46" in text
    assert "12,345" in text
    assert "240 " in text


def test_scores_are_printed_with_their_thresholds_and_intervals(capsys: pytest.CaptureFixture[str]) -> None:
    metrics = {"val/f1": 70.0, "val/f1_ci95": [65.125, 74.5], "val/best_f1": 72.0, "val/best_f1_thresh": -1.25}
    print_scores({"val/loss": 0.5, **metrics, "val/null_score_diff_threshold": 3.0})
    rows = {line.split()[1]: line for line in capsys.readouterr().out.splitlines() if "val/" in line}
    assert set(rows) == {"val/loss", "val/f1", "val/best_f1"}
    assert "3.00" not in rows["val/loss"]
    assert "65.12 – 74.50" in rows["val/f1"]
    assert "3.00" in rows["val/f1"]
    assert "-1.25, tuned here" in rows["val/best_f1"]


@pytest.mark.parametrize(("used", "said"), [(1.25, True), (1.250001, True), (1.3, False)])
def test_a_threshold_that_was_tuned_on_the_same_questions_is_marked(
    capsys: pytest.CaptureFixture[str], used: float, said: bool
) -> None:
    print_scores({"test/f1": 70.0, "test/null_score_diff_threshold": used, "test/best_f1_thresh": 1.25})
    assert ("tuned here" in capsys.readouterr().out) == said


def test_columns_without_anything_in_them_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    print_scores({"val/f1": 70.0})
    printed = capsys.readouterr().out
    assert "value" in printed
    assert "threshold" not in printed
    assert "interval" not in printed


def test_samples_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    print_samples(table(prediction(), prediction("", ()), prediction("Bob", None)))
    lines = capsys.readouterr().out.splitlines()
    assert any("Who?" in line and line.count("Ada") == 2 for line in lines)
    assert any(line.count("(no answer)") == 2 for line in lines)
    assert any("Bob" in line and "(no answer)" not in line for line in lines)


def test_without_samples_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    print_samples(table())
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("text", ["[bold red]x[/]", "[/]", "[link=file:///etc/passwd]x[/link]", ":smile:"])
def test_markup_in_data_is_text(capsys: pytest.CaptureFixture[str], text: str) -> None:
    print_samples(table(prediction(text, (text,), text)))
    print_scores({f"val/{text}/f1": 1.0})
    lines = capsys.readouterr().out.splitlines()
    assert any(line.count(text) == 3 for line in lines)
    assert any(f"val/{text}/f1" in line for line in lines)


@pytest.mark.parametrize("text", [f"a{ESCAPE}b", "a\rb", "a\x07b", "a\x9bb", "a\u202eb", "a\nb"])
def test_what_a_terminal_would_obey_is_not_printed(capsys: pytest.CaptureFixture[str], text: str) -> None:
    print_samples(table(prediction(text, (text,), text)))
    print_scores({text: 1.0})
    printed = capsys.readouterr().out
    assert all(character.isprintable() for character in printed.replace("\n", ""))
    assert sum("a" in line and "b" in line for line in printed.splitlines()) >= 2  # on one line each


def test_text_of_any_script_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_samples(table(prediction("日本語", ("العربية",), "हिन्दी?")))
    printed = capsys.readouterr().out
    assert all(text in printed for text in ("日本語", "العربية", "हिन्दी?"))

"""Predictions in the formats that others read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qa_lightning.records import Answer, Answers, Prediction, Question
from qa_lightning.runs import predictions
from qa_lightning.runs.folder import QUESTIONS
from qa_lightning.runs.predictions import remove_evaluation, write_predictions
from qa_lightning.runs.questions import tabulate, write_table
from qa_lightning.scoring.rules import SQUAD_V2


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def predict(row: int, text: str, odds: float | None) -> Prediction:
    answers = [Answer("Ünï", 0, 3, 1.5, 2.5, 0.75), Answer("", 0, 0, -1.0, -2.0, 0.25)]
    question = Question(row, f"q{row}", "?", "Ünï", None, 1)
    return Prediction(question, text, Answers.of(question.context, answers[: 1 if odds is None else 2]), odds)


def test_by_hand(tmp_path: Path) -> None:
    write_predictions(tmp_path, tabulate([predict(0, "Ünï", -7.0), predict(1, "", 3.25)], SQUAD_V2))
    assert read(tmp_path / "predictions.json") == {"q0": "Ünï", "q1": ""}
    assert read(tmp_path / "null_odds.json") == {"q0": -7.0, "q1": 3.25}
    assert read(tmp_path / "na_prob.json") == {"q0": 0.25, "q1": 0.25}
    assert read(tmp_path / "nbest_predictions.json")["q1"] == [
        {"text": "Ünï", "start_logit": 1.5, "end_logit": 2.5, "probability": 0.75},
        {"text": "", "start_logit": -1.0, "end_logit": -2.0, "probability": 0.25},
    ]


def test_files_written_in_parts_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tabulate([predict(row, "Ünï" if row % 2 else "", row - 5.5) for row in range(10)], SQUAD_V2)
    write_predictions(tmp_path / "whole", table)
    monkeypatch.setattr(predictions, "_PART", 3)
    write_predictions(tmp_path / "parts", table)
    files = {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "parts").iterdir()}
    assert len(files) == 4
    assert list(read(tmp_path / "parts/nbest_predictions.json")) == [f"q{row}" for row in range(10)]


def test_where_null_was_not_allowed_there_are_no_null_files(tmp_path: Path) -> None:
    write_predictions(tmp_path, tabulate([predict(0, "Ünï", None)], SQUAD_V2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["nbest_predictions.json", "predictions.json"]


def test_files_of_an_earlier_evaluation_are_removed(tmp_path: Path) -> None:
    for name in ("", "a", "validate", "test"):
        write_predictions(tmp_path / name, tabulate([predict(0, "Ünï", -7.0)], SQUAD_V2))
        write_table(tmp_path / name / QUESTIONS, tabulate([predict(0, "Ünï", -7.0)], SQUAD_V2))
    for kept in ("validate/metrics.json", "test/config.yaml", "metrics.json", "a/mine.txt", "config.yaml"):
        (tmp_path / kept).write_text("{}")
    remove_evaluation(tmp_path)
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert {path for path in left if not path.startswith(("validate", "test"))} == {"a/mine.txt", "config.yaml"}
    assert len(left) == 2 + 2 * 6

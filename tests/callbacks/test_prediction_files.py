"""Predictions in the formats that others read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qa_lightning.callbacks.prediction_files import write_predictions
from qa_lightning.per_question import tabulate
from qa_lightning.records import Answer, Prediction, Question
from qa_lightning.scoring.squad import score_question


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def predict(row: int, text: str, odds: float | None) -> Prediction:
    answers = [Answer("Ünï", 0, 3, 1.5, 2.5, 0.75), Answer("", 0, 0, -1.0, -2.0, 0.25)]
    question = Question(row, f"q{row}", "?", "Ünï", None, 1)
    return Prediction(question, text, tuple(answers[: 1 if odds is None else 2]), odds)


def test_by_hand(tmp_path: Path) -> None:
    write_predictions(tmp_path, tabulate([predict(0, "Ünï", -7.0), predict(1, "", 3.25)], score_question))
    assert read(tmp_path / "predictions.json") == {"q0": "Ünï", "q1": ""}
    assert read(tmp_path / "null_odds.json") == {"q0": -7.0, "q1": 3.25}
    assert read(tmp_path / "na_prob.json") == {"q0": 0.25, "q1": 0.25}
    assert read(tmp_path / "nbest_predictions.json")["q1"] == [
        {"text": "Ünï", "start_logit": 1.5, "end_logit": 2.5, "probability": 0.75},
        {"text": "", "start_logit": -1.0, "end_logit": -2.0, "probability": 0.25},
    ]


def test_null_files_of_an_earlier_evaluation_do_not_stay(tmp_path: Path) -> None:
    write_predictions(tmp_path, tabulate([predict(0, "Ünï", -7.0)], score_question))
    write_predictions(tmp_path, tabulate([predict(0, "Ünï", None)], score_question))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["nbest_predictions.json", "predictions.json"]

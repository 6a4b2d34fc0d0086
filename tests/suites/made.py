"""Suites and scores made by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qa_lightning.suites.scores import QuestionScores, SetScores
from qa_lightning.suites.suite import EvaluationSet

ENGLISH = {
    "Ada wrote the first program in London.": {"Who wrote it?": ["Ada"], "Where?": ["in London"]},
    "Grace built a compiler in Paris.": {"Who built it?": ["a Grace", "Grace Hopper"]},
}
SPANISH = {
    "Ada lived in Rome.": {"¿Quién?": ["la Ada"], "¿Dónde?": ["Ada Rome"]},
    "Grace lived in Paris.": {"¿Quién vivió?": ["una Grace"]},
}
"""What `tests.cli.test_evaluate` has answered by "ada", or by "grace" where there is no "ada".

By MLQA's rules, EM is 2/3 and F1 2/3 in English, EM 2/3 and F1 8/9 in Spanish.
"""


def write_set(path: Path, contexts: Mapping[str, Mapping[str, Sequence[str]]], **columns: str) -> Path:
    """Writes questions on contexts as flat rows, whose ids are 0, 1 and so on."""
    questions = [(c, question, golds) for c, asked in contexts.items() for question, golds in asked.items()]
    names = {name: columns.get(name, name) for name in ("id", "question", "context", "answers")}
    rows = [
        dict(zip(names.values(), (str(number), question, context, list(golds)), strict=True))
        for number, (context, question, golds) in enumerate(questions)
    ]
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def set_scores(
    name: str, f1: Sequence[float], *, ids: Sequence[str], contexts: Sequence[int], own_ids: bool = True, **of_set: Any
) -> SetScores:
    """The scores of a model named ``m`` on a set; EM is that of F1 rounded down to 0 or 100."""
    values = np.array(f1, dtype=np.float64)
    exact = np.where(values == 100, 100.0, 0.0)
    figures = {"exact": float(exact.mean()), "f1": float(values.mean()), "total": len(values)}
    intervals = {"exact_match": (0.0, 100.0), "f1": (0.0, 100.0)}
    questions = QuestionScores(list(ids), np.array(contexts), exact, values)
    each = EvaluationSet(name, file=f"{name}.json", **of_set)
    return SetScores("m", each, f"{name}.json", own_ids, figures, intervals, questions, True)

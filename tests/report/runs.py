"""Questions, tables and run folders made by hand."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from qa_lightning.records import Answer, Answers, Prediction, Question
from qa_lightning.runs.folder import QUESTIONS
from qa_lightning.runs.questions import tabulate, write_table
from qa_lightning.scoring.rules import SQUAD_V2

CONTEXT = "Ada wrote the first program in London. Grace built a compiler in Paris."

EMOJI = "🎉🎉 Ada 👩‍💻 wrote the first program in London."
"""Characters that are two in JavaScript, before and within spans."""

HOSTILE = """</script><script>window.hacked = 1</script><!-- <img src=x onerror="window.hacked = 2"> & &lt; "'>
\u2028</title><b onclick='window.hacked = 3'>{{ 7 * 7 }} ${1} `x`"""
"""Text that would be markup, script or template, were it taken for any of these."""


def answered(
    row: int,
    golds: Sequence[str] | None,
    *texts: str,
    context: str = CONTEXT,
    question: str = "Who wrote the program?",
    name: str | None = None,
    probabilities: Sequence[float] = (0.7, 0.2, 0.1),
    null_odds: float | None = None,
    windows: int = 1,
) -> Prediction:
    """A prediction: the first text, with the others as lesser candidates; an empty text is null."""
    answers = []
    for text, probability in zip(texts, probabilities, strict=False):
        start = context.index(text) if text else 0
        answers.append(Answer(text, start, start + len(text), probability, probability, probability))
    spans = [
        (context.index(gold), context.index(gold) + len(gold)) if gold in context else None for gold in golds or ()
    ]
    published = None if golds is None else tuple(golds)
    asked = Question(row, name or f"q{row}", question, context, published, windows, tuple(spans))
    return Prediction(asked, texts[0], Answers.of(context, answers), null_odds)


def some() -> list[Prediction]:
    """One question for each outcome."""
    return [
        answered(0, ["Ada"], "Ada", "Grace", "", null_odds=-3.0),
        answered(1, ["London"], "in London", "Paris", "", question="Where?", null_odds=-2.0, windows=2),
        answered(2, ["compiler"], "Paris", "London", "", question="What did Grace build?", null_odds=-1.0),
        answered(3, ["Paris"], "", "London", "Paris", question="In which city?", null_odds=1.0),
        answered(4, [], "Grace", "Ada", "", question="How many?", null_odds=-0.5),
        answered(5, [], "", "Ada", "Grace", question="When?", null_odds=2.0),
    ]


def table(predictions: Sequence[Prediction] | None = None) -> pa.Table:
    """Their table; default: that of `some`."""
    return tabulate(some() if predictions is None else predictions, SQUAD_V2)


def make_run(folder: Path, predictions: Sequence[Prediction] | None = None, **metrics: Any) -> Path:
    """A run's folder with its questions and, where there are any, metrics ``val__f1=…``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / QUESTIONS, table(predictions))
    if metrics:
        written = {name.replace("__", "/"): value for name, value in metrics.items()}
        (folder / "metrics.json").write_text(json.dumps(written))
    return folder


def write_log(run: Path, version: int, text: str) -> None:
    """A log as Lightning's CSVLogger writes it."""
    path = run / f"logs/version_{version}/metrics.csv"
    path.parent.mkdir(parents=True)
    path.write_text(text)


def many(questions: int, contexts: int, length: int, candidates: int, letter: str = "word ") -> list[Prediction]:
    """Seeded questions of SQuAD's shape."""
    rng = random.Random(0)
    texts = [(f"{i} " + letter * length)[:length] for i in range(contexts)]
    made = []
    for row in range(questions):
        context = texts[row * contexts // questions]
        spans = [(start, start + rng.randrange(3, 30)) for start in rng.sample(range(length - 30), candidates)]
        answers = [
            Answer(context[start:end], start, end, rng.gauss(0, 3), rng.gauss(0, 3), rng.random())
            for start, end in spans
        ]
        gold = spans[rng.randrange(2)]
        words = "Which of the many things that are told here is meant by it?"
        asked = Question(row, f"{row:024x}", words, context, (context[slice(*gold)],) * 3, 1, (gold,) * 3)
        made.append(Prediction(asked, answers[0].text, Answers.of(context, answers), rng.gauss(0, 5)))
    return made

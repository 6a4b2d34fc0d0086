"""The time of scoring, compared with torchmetrics' own SQuAD metric, with the same scores."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count, islice
from typing import Any, NamedTuple

import torch
from torchmetrics.functional.text.squad import squad

from benchmarks.harness import SHARED, Row, Size, main, row
from qa_lightning.data.synthetic import SyntheticCorpus
from qa_lightning.scoring.squad import evaluate, normalize

QUESTIONS: dict[Size, int] = {"full": 10_570, "small": 200}
"""Numbers of questions; the full one is that of SQuAD 1.1's development set."""

REPEATS = 10
BAR = 10
"""How many times faster than torchmetrics scoring has to be."""


class AnsweredQuestion(NamedTuple):
    """A question's golds, at least one, and the predicted text."""

    golds: list[str]
    prediction: str


class Result(NamedTuple):
    """Scores, 0 to 100, and the seconds of the fastest repeat."""

    exact: float
    f1: float
    seconds: float


def real_questions() -> list[AnsweredQuestion]:
    """XQuAD in English with the predictions whose scores are known; empty where those files are absent."""
    data, predictions = SHARED / "data/xquad.en.json", SHARED / "golden/xquad.en.predictions.json"
    if not (data.is_file() and predictions.is_file()):
        return []
    texts = json.loads(predictions.read_text(encoding="utf-8"))
    return [
        AnsweredQuestion([answer["text"] for answer in question["answers"]], texts[question["id"]])
        for article in json.loads(data.read_text(encoding="utf-8"))["data"]
        for paragraph in article["paragraphs"]
        for question in paragraph["qas"]
    ]


def made_questions() -> list[AnsweredQuestion]:
    """Questions of the package's own corpus; a third each is answered right, nearly right and wrong."""
    rows = SyntheticCorpus(train_passages=500).rows("train")
    golds = [row["answers"]["text"] for row in rows if row["answers"]["text"]]
    makers: tuple[Callable[[str, str], str], ...] = (
        lambda gold, wrong: f"The {gold}.",
        lambda gold, wrong: f"a {gold.split()[0]} and more",
        lambda gold, wrong: wrong,
    )
    return [
        AnsweredQuestion(gold, makers[number % 3](gold[0], next_gold[0]))
        for number, (gold, next_gold) in enumerate(zip(golds, golds[1:] + golds[:1], strict=True))
    ]


def repeated(questions: list[AnsweredQuestion], size: int) -> dict[str, AnsweredQuestion]:
    """As many questions as wanted, by id. No text returns in a repeat, so that remembering texts gains nothing."""

    def endless() -> Iterator[tuple[str, AnsweredQuestion]]:
        for round_ in count():
            for number, (golds, prediction) in enumerate(questions):
                marked = AnsweredQuestion([f"{gold} {round_}" for gold in golds], f"{prediction} {round_}")
                yield f"{round_}-{number}", marked

    return dict(islice(endless(), size))


def ours(questions: dict[str, AnsweredQuestion]) -> Callable[[], tuple[float, float]]:
    """Scoring by `evaluate`, ready to run; it gives EM and F1."""
    golds = {name: question.golds for name, question in questions.items()}
    predictions = {name: question.prediction for name, question in questions.items()}

    def run() -> tuple[float, float]:
        figures = evaluate(golds, predictions)
        return figures["exact"], figures["f1"]

    return run


def peer(questions: dict[str, AnsweredQuestion]) -> Callable[[], tuple[float, float]]:
    """Scoring by torchmetrics, ready to run; it gives EM and F1."""
    texts = [{"id": name, "prediction_text": question.prediction} for name, question in questions.items()]
    golds: list[dict[str, Any]] = [
        {"id": name, "answers": {"text": question.golds, "answer_start": [0] * len(question.golds)}}
        for name, question in questions.items()
    ]

    def run() -> tuple[float, float]:
        figures = squad(texts, golds)
        return float(figures["exact_match"]), float(figures["f1"])

    return run


def race(*runs: Callable[[], tuple[float, float]]) -> list[Result]:
    """Times each by turns, so that a busy moment of the machine meets all; nothing is remembered between turns."""
    times: list[list[float]] = [[] for _ in runs]
    scores = [(0.0, 0.0)] * len(runs)
    for _ in range(REPEATS):
        for number, run in enumerate(runs):
            normalize.cache_clear()
            start = time.perf_counter()
            scores[number] = run()
            times[number].append(time.perf_counter() - start)
    return [Result(*score, min(seconds)) for score, seconds in zip(scores, times, strict=True)]


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Torch's default dtype, until the block ends."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(usual)


def run(size: Size) -> list[Row]:
    """Seconds of both for the same predictions.

    Raises:
        AssertionError: The two do not give the same scores.
    """
    questions = repeated(real_questions() or made_questions(), QUESTIONS[size])
    with default_dtype(torch.float64):  # torchmetrics sums in the default type; in float32 it loses digits
        mine, theirs = race(ours(questions), peer(questions))
    assert math.isclose(mine.exact, theirs.exact, abs_tol=1e-9), "the two differ in EM"
    assert math.isclose(mine.f1, theirs.f1, abs_tol=1e-9), "the two differ in F1"
    return [
        row(
            "scoring",
            f"seconds to score {len(questions):,} predictions",
            mine.seconds,
            peer=theirs.seconds,
            bar=BAR,
            higher_is_better=False,
            unit="s",
            note=f"torchmetrics' SQuAD; both: EM {mine.exact:.2f}, F1 {mine.f1:.2f}",
        )
    ]


if __name__ == "__main__":
    main(run, __doc__)

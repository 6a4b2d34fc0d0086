"""Questions over 1,000 paragraphs: the Reader given all of them, beside a loop that asks it about one after the other.

The peer is what people write who have a reader of single contexts: a call for each paragraph, of whose answers the one
with the highest score is taken (which compares scores that are each a softmax of one paragraph's own). Both have the
same network of random weights, the same tokens and the same windows. Answers are the same where the paragraph is: how
often it is the one that the loop takes, the note says. The last row reads the 20 paragraphs only that BM25 ranks first.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.data import squad_shaped
from benchmarks.harness import Row, Size, best_of, main, row
from benchmarks.models import MINILM, TINY, Shape, make_module, write_model
from qa_lightning import Reader
from qa_lightning.reader.retrieval import ParagraphIndex

RETRIEVED = 20


class Plan(NamedTuple):
    """The size of a measurement.

    Attributes:
        shape: The model's.
        paragraphs: How many there are.
        questions: How many are asked, one by one.
        repeats: How often each side runs, of which the fastest counts.
    """

    shape: Shape
    paragraphs: int
    questions: int
    repeats: int


PLANS: dict[Size, Plan] = {"small": Plan(TINY, 1000, 2, 1), "full": Plan(MINILM, 1000, 4, 2)}


def measure(plan: Plan) -> Iterator[Row]:
    """Runs the benchmark with a plan."""
    rows = squad_shaped(6 * plan.paragraphs)
    paragraphs = [*dict.fromkeys(record["context"] for record in rows)][: plan.paragraphs]
    questions = [record["question"] for record in rows[:: max(1, len(rows) // plan.questions)]][: plan.questions]
    assert (len(paragraphs), len(questions)) == (plan.paragraphs, plan.questions)
    with tempfile.TemporaryDirectory() as temporary:
        module = make_module(write_model(plan.shape, Path(temporary)))
    reader = Reader(module.model.eval(), module.tokenizer)
    index = ParagraphIndex({str(number): paragraph for number, paragraph in enumerate(paragraphs)})
    chosen: dict[str, list[int]] = {}

    def together() -> None:
        chosen["together"] = [reader(question=question, contexts=paragraphs)["document"] for question in questions]

    def loop() -> None:
        chosen["loop"] = []
        for question in questions:
            scores = [reader(question=question, context=paragraph)["score"] for paragraph in paragraphs]
            chosen["loop"].append(scores.index(max(scores)))

    def retrieved() -> None:
        for question in questions:
            index.ask(reader, question, RETRIEVED)

    reader(question=questions[0], contexts=paragraphs[:10])
    ours, peer, few = (plan.questions / best_of(run, plan.repeats) for run in (together, loop, retrieved))
    same = sum(a == b for a, b in zip(chosen["together"], chosen["loop"], strict=True))
    count = f"{plan.paragraphs:,} paragraphs"
    note = f"{plan.questions} asked, {plan.shape.name}; the loop's own choice of paragraph {same} times"
    yield row("documents", f"questions/s over {count} beside a call per paragraph", ours, peer=peer, note=note)
    yield row(
        "documents", f"questions/s over {RETRIEVED} of {count}, which BM25 picks, beside all of them", few, peer=ours
    )


def run(size: Size) -> list[Row]:
    """Runs the benchmark."""
    return list(measure(PLANS[size]))


if __name__ == "__main__":
    main(run, __doc__)

"""What is found in splits that spoils a training or its scores."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from qa_lightning.data.sources import rows_to_examples
from qa_lightning.inspection.checks import check_splits

ADA = "Ada wrote the first program in London."
ALAN = "Alan lived in a house in Rome."


def table(*rows: tuple[str, str, list[str]]) -> pa.Table:
    """Questions with a context and golds; their ids are ``q0``, ``q1``, …"""
    made: list[dict[str, Any]] = [
        {
            "id": f"q{number}",
            "question": question,
            "context": context,
            "answers": {"text": golds, "answer_start": [max(0, context.find(gold)) for gold in golds]},
        }
        for number, (question, context, golds) in enumerate(rows)
    ]
    return rows_to_examples(made, source="rows").table


def counts(tables: dict[str, pa.Table], split: str) -> dict[str, tuple[int, int, tuple[str, ...]]]:
    return {finding.check: tuple(finding)[1:] for finding in check_splits(tables)[split]}


def test_what_is_trained_on_is_found_in_other_splits() -> None:
    train = table(("Who wrote it?", ADA, ["Ada"]), ("Who?", ALAN, ["Alan"]))
    found = counts(
        {
            "train": train,
            "validation/en": table(
                ("who  WROTE it?", f" {ADA} ", ["Ada"]),  # case and white space make no difference
                ("Who?", ADA.upper(), ["ADA"]),
                ("Who?", "Grace built a compiler.", ["Grace"]),
                ("Where?", "Grace built a compiler.", ["compiler"]),
            ),
        },
        "validation/en",
    )
    assert found["contexts that train has too"] == (2, 3, ("q0", "q1"))
    assert found["questions that train has too"] == (3, 4, ("q0", "q1", "q2"))
    assert found["questions that train has too, on the same context"] == (1, 4, ("q0",))


def test_only_others_are_compared_with_what_is_trained_on() -> None:
    rows = table(("Who?", ADA, ["Ada"]))
    assert len(counts({"train": rows}, "train")) == len(counts({"validation": rows}, "validation")) == 2


def test_one_question_with_golds_that_exclude_each_other() -> None:
    rows = table(
        ("Who?", ADA, ["Ada"]),
        ("who?", ADA, ["London"]),
        ("Who?", ALAN, ["Alan"]),
        ("Where?", ADA, ["London", "in London"]),
        ("Where?", ADA, ["in london"]),  # one gold is the same
        ("When?", ADA, []),
        ("When?", ADA, []),
        ("What?", ADA, []),
        ("What?", ADA, ["program"]),
    )
    found = counts({"train": rows}, "train")
    assert found["asked twice on a context, with other golds"] == (4, 9, ("q0", "q1", "q7", "q8"))


def test_golds_that_are_most_of_their_context() -> None:
    half = ADA[: len(ADA) // 2]
    rows = table(("What?", ADA, [half]), ("What else?", ADA, ["Ada", ADA[: len(ADA) // 2 + 1]]))
    assert counts({"train": rows}, "train")["with a gold longer than half the context"] == (1, 2, ("q1",))

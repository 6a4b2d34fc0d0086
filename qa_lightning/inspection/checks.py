"""Checks splits for what spoils a training or its scores: shared questions, contradicting golds, overlong golds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

TRAIN = "train"


@dataclass(frozen=True)
class Finding:
    """What a check found in a split.

    Attributes:
        check: What is counted.
        count: How many there are.
        of: Of how many.
        ids: The ids of the questions concerned, in the split's order.
    """

    check: str
    count: int
    of: int
    ids: tuple[str, ...]


class _Texts(NamedTuple):
    """The texts of a split, alike where they differ in case and white space only.

    Attributes:
        ids: The id of each question.
        contexts: The distinct contexts.
        context_of: Which of them each question has.
        questions: The questions.
        golds: The golds of each question.
        long: Whether a gold has more than half the characters of its context; by question.
    """

    ids: list[str]
    contexts: list[str]
    context_of: list[int]
    questions: list[str]
    golds: list[frozenset[str]]
    long: list[bool]


def check_splits(tables: Mapping[str, pa.Table]) -> dict[str, list[Finding]]:
    """Checks each split by itself, and against the one that is trained on.

    Args:
        tables: The examples of each split, with the schema ``examples.EXAMPLES``, by the split's name; ``train``, or
            each ``train/NAME``, is trained on.

    Returns:
        What was found in each split, also where it is nothing.
    """
    texts = {name: _read(table) for name, table in tables.items()}
    trained = [of_split for name, of_split in texts.items() if _is_trained(name)]
    found = {}
    for name, split in texts.items():
        others = [] if not trained or _is_trained(name) else list(_shared(split, trained))
        found[name] = [*others, _contradicting(split), _overlong(split)]
    return found


def _is_trained(name: str) -> bool:
    return name.partition("/")[0] == TRAIN


def _shared(split: _Texts, trained: Sequence[_Texts]) -> Iterator[Finding]:
    contexts = {context for of_set in trained for context in of_set.contexts}
    known = [context in contexts for context in split.contexts]
    ids = _where(split, [known[context] for context in split.context_of])
    yield Finding("contexts that train has too", sum(known), len(known), ids)
    questions = {question for of_set in trained for question in of_set.questions}
    ids = _where(split, [question in questions for question in split.questions])
    yield Finding("questions that train has too", len(ids), len(split.ids), ids)
    asked = {pair for of_set in trained for pair in _asked(of_set)}
    ids = _where(split, [pair in asked for pair in _asked(split)])
    yield Finding("questions that train has too, on the same context", len(ids), len(split.ids), ids)


def _contradicting(split: _Texts) -> Finding:
    """The same question on the same context, with no gold in common."""
    groups: dict[tuple[str, str], list[int]] = {}
    for row, pair in enumerate(_asked(split)):
        groups.setdefault(pair, []).append(row)
    wrong = [False] * len(split.ids)
    for rows in groups.values():
        for row in rows:
            golds = split.golds[row]
            wrong[row] = any((golds or split.golds[other]) and not golds & split.golds[other] for other in rows)
    ids = _where(split, wrong)
    return Finding("asked twice on a context, with other golds", len(ids), len(split.ids), ids)


def _overlong(split: _Texts) -> Finding:
    ids = _where(split, split.long)
    return Finding("with a gold longer than half the context", len(ids), len(split.ids), ids)


def _where(split: _Texts, chosen: Sequence[bool]) -> tuple[str, ...]:
    return tuple(name for name, taken in zip(split.ids, chosen, strict=True) if taken)


def _asked(split: _Texts) -> Iterator[tuple[str, str]]:
    return ((question, split.contexts[at]) for question, at in zip(split.questions, split.context_of, strict=True))


def _read(table: pa.Table) -> _Texts:
    column = table["context"].combine_chunks()
    contexts, context_of = column.dictionary.to_pylist(), column.indices.to_pylist()
    golds = [published or [] for published in table["gold_texts"].to_pylist()]
    return _Texts(
        table["id"].to_pylist(),
        list(map(_plain, contexts)),
        context_of,
        [_plain(question) for question in table["question"].to_pylist()],
        [frozenset(map(_plain, published)) for published in golds],
        [
            any(2 * len(gold) > len(contexts[at]) for gold in published)
            for published, at in zip(golds, context_of, strict=True)
        ],
    )


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())

"""The results of a suite as rows: a model's scores on each set, on parts of sets, and their means over sets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from qa_lightning.scoring.figures import mean_over_sets
from qa_lightning.suites.adversarial import adversarial_parts
from qa_lightning.suites.averages import average_intervals
from qa_lightning.suites.scores import Interval, SetScores
from qa_lightning.suites.suite import Suite
from qa_lightning.utils.files import whole_file

SET, PART, AVERAGE = "set", "part", "average"
"""What a row may be of."""


@dataclass(frozen=True)
class ResultRow:
    """Scores of a model, 0 to 100.

    Attributes:
        model: The model's label.
        kind: `SET`, a whole set; `PART`, some of a set's questions; `AVERAGE`, a mean over sets.
        name: What the row is called.
        sets: The sets that it is of, as far as they were scored.
        questions: How many; of an average, of all its sets.
        exact_match: EM.
        f1: F1.
        exact_match_interval: The 95 % interval of EM.
        f1_interval: That of F1.
        language: Of contexts and answers; empty where it is not known, and for an average.
        question_language: Of questions; likewise.
        rule: What answers were scored by; empty for an average.
        source: What the questions are from; empty for an average.
        figures: All figures of a whole set, as ``score`` prints them.
    """

    model: str
    kind: str
    name: str
    sets: tuple[str, ...]
    questions: int
    exact_match: float
    f1: float
    exact_match_interval: Interval
    f1_interval: Interval
    language: str = ""
    question_language: str = ""
    rule: str = ""
    source: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)


def result_rows(suite: Suite, scores: Sequence[SetScores]) -> list[ResultRow]:
    """Makes the rows of all models, model by model: each set with its parts in the suite's order, then the averages.

    Args:
        suite: The suite.
        scores: The scores of each model on each set, as far as there are some.
    """
    rows = []
    for model in dict.fromkeys(found.model for found in scores):
        of_model = {found.evaluation_set.name: found for found in scores if found.model == model}
        in_order = [of_model[each.name] for each in suite.sets if each.name in of_model]
        rows += [row for found in in_order for row in _rows_of_set(found)]
        rows += _averages(suite, model, of_model)
    return rows


def write_results(path: Path, suite: Suite, rows: Sequence[ResultRow]) -> None:
    """Writes rows as Parquet, whole or not at all: one for each, with a column for each figure.

    Args:
        path: The file.
        suite: The suite.
        rows: The rows, at least one.

    Raises:
        UserError: Where it cannot be written.
    """
    more = dict.fromkeys(name for row in rows for name in row.figures if name not in ("exact", "f1", "total"))
    table = pa.Table.from_pylist([_record(suite, row, list(more)) for row in rows])
    with whole_file(path) as unfinished:
        pq.write_table(table, unfinished)


def _record(suite: Suite, row: ResultRow, more: Sequence[str]) -> dict[str, Any]:
    record: dict[str, Any] = {"suite": suite.name, "model": row.model, "kind": row.kind, "name": row.name}
    record |= {"sets": list(row.sets), "language": row.language, "question_language": row.question_language}
    record |= {"rule": row.rule, "source": row.source, "questions": row.questions}
    for name, value, interval in (
        ("exact_match", row.exact_match, row.exact_match_interval),
        ("f1", row.f1, row.f1_interval),
    ):
        record |= {name: value, f"{name}_low": interval[0], f"{name}_high": interval[1]}
    return record | {name: _number(row.figures.get(name)) for name in more}


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)


def _rows_of_set(found: SetScores) -> Iterator[ResultRow]:
    each, figures = found.evaluation_set, found.figures
    about: dict[str, Any] = {
        "model": found.model,
        "sets": (each.name,),
        "language": each.language or "",
        "question_language": each.question_language or each.language or "",
        "rule": each.rule_title,
        "source": found.source,
    }
    yield ResultRow(
        kind=SET,
        name=each.name,
        questions=int(figures["total"]),
        exact_match=figures["exact"],
        f1=figures["f1"],
        exact_match_interval=found.intervals["exact_match"],
        f1_interval=found.intervals["f1"],
        figures=figures,
        **about,
    )
    for part in adversarial_parts(found.questions) if each.adversarial else ():
        scores = {field.name: getattr(part, field.name) for field in fields(part) if field.name != "name"}
        yield ResultRow(kind=PART, name=f"{each.name}, {part.name}", **scores, **about)


def _averages(suite: Suite, model: str, of_model: Mapping[str, SetScores]) -> Iterator[ResultRow]:
    for name, planned in suite.averages.items():
        found = [of_model[each] for each in planned if each in of_model]
        if len(found) < 2:
            continue
        means = mean_over_sets(
            {
                each.evaluation_set.name: {"exact_match": each.figures["exact"], "f1": each.figures["f1"]}
                for each in found
            }
        )
        intervals = average_intervals(found)
        yield ResultRow(
            model=model,
            kind=AVERAGE,
            name=name if len(found) == len(planned) else f"{name} ({len(found)} of {len(planned)})",
            sets=tuple(each.evaluation_set.name for each in found),
            questions=sum(int(each.figures["total"]) for each in found),
            exact_match=means["mean_exact_match"],
            f1=means["mean_f1"],
            exact_match_interval=intervals["exact_match"],
            f1_interval=intervals["f1"],
        )

"""Whether runs are on the same questions, so that their scores can be taken together."""

from __future__ import annotations

import pyarrow as pa

from qa_lightning.runs.questions import scored_by
from qa_lightning.scoring.squad import first_ids
from qa_lightning.utils.errors import UserError

_COMPARED = ["row", "id", "question", "context", "golds", "prediction", "exact_match", "f1"]


def by_id(table: pa.Table) -> pa.Table:
    """What is compared of a run, in the order of ids; contexts are numbered in that order too."""
    table = table.select(_COMPARED).sort_by("id").combine_chunks()
    at = _COMPARED.index("context")
    return table.set_column(at, "context", table["context"].cast(pa.string()).dictionary_encode())


def require_same_data(name_a: str, a: pa.Table, name_b: str, b: pa.Table) -> None:
    """Checks that two tables of `by_id` have the same questions, contexts and golds, and were scored by one rule.

    Args:
        name_a: The name of the first run in messages.
        a: Its table.
        name_b: The name of the other.
        b: Its table.

    Raises:
        UserError: Where they do not.
    """
    if scored_by(a) != scored_by(b):
        raise UserError(
            f"{name_b} was scored by the rule of {scored_by(b)}, {name_a} by that of {scored_by(a)}; "
            "validate one of them with the other's language"
        )
    data_a, data_b = _data(a), _data(b)
    if data_a == data_b:
        return
    found = (
        ([key for key in data_a if key not in data_b], f"only in {name_a}"),
        ([key for key in data_b if key not in data_a], f"only in {name_b}"),
        ([key for key in data_a if data_b.get(key, data_a[key]) != data_a[key]], "with another text, context or golds"),
    )
    differences = (f"{len(ids):,} {what} ({first_ids(ids)})" for ids, what in found if ids)
    raise UserError(f"{name_b} is not on the data of {name_a}; questions: {'; '.join(differences)}")


def texts_of_golds(table: pa.Table) -> list[tuple[str, ...] | None]:
    """The texts of each question's golds, None where they are not known."""
    rows = table["golds"].to_pylist()
    return [None if golds is None else tuple(gold["text"] for gold in golds) for golds in rows]


def _data(table: pa.Table) -> dict[str, tuple[str, str, tuple[str, ...] | None]]:
    """What must be the same in two runs, by the question's id."""
    columns = (
        table["id"].to_pylist(),
        table["question"].to_pylist(),
        table["context"].to_pylist(),
        texts_of_golds(table),
    )
    return {key: (question, context, golds) for key, question, context, golds in zip(*columns, strict=True)}

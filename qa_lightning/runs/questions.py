"""The table of a run's questions, one row each, that comparing and reporting start from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from qa_lightning.runs.folder import RunFolder
from qa_lightning.runs.question_types import question_type
from qa_lightning.scoring.rules import scorer
from qa_lightning.scoring.squad import Scorer
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.files import whole_file

if TYPE_CHECKING:  # the verbs that read a table need no torch
    from qa_lightning.records import Prediction, Question

_ANSWER = pa.struct(
    [
        pa.field("text", pa.string()),
        pa.field("start", pa.int32()),
        pa.field("end", pa.int32()),
        pa.field("start_logit", pa.float64()),
        pa.field("end_logit", pa.float64()),
        pa.field("probability", pa.float64()),
    ]
)
_GOLD = pa.struct([pa.field("text", pa.string()), pa.field("start", pa.int32()), pa.field("end", pa.int32())])

SCHEMA = pa.schema(
    [
        # The question's place in the data, in published order, from 0.
        pa.field("row", pa.int64()),
        pa.field("id", pa.string()),
        pa.field("question", pa.string()),
        # As `question_type` has it: "how many", "who".
        pa.field("question_type", pa.string()),
        # The dictionary holds each distinct context once.
        pa.field("context", pa.dictionary(pa.int32(), pa.string())),
        # The published answers, with their spans in characters (end exclusive), which are null where a gold was
        # not located. Empty: the question is unanswerable; null: golds are not known.
        pa.field("golds", pa.list_(_GOLD)),
        # The predicted text; empty: no answer.
        pa.field("prediction", pa.string()),
        # Scores of the prediction, 0 to 100; null where golds are not known.
        pa.field("exact_match", pa.float64()),
        pa.field("f1", pa.float64()),
        # Scores of the best text that is not empty, and of no answer, whatever was predicted; null likewise.
        pa.field("span_exact_match", pa.float64()),
        pa.field("span_f1", pa.float64()),
        pa.field("null_exact_match", pa.float64()),
        pa.field("null_f1", pa.float64()),
        # Null score minus the best other score, and the softmax probability of null among the answers kept;
        # null where the model could not leave a question unanswered.
        pa.field("null_odds", pa.float64()),
        pa.field("na_prob", pa.float64()),
        # Of the predicted answer: start plus end logit, and the probability among the answers kept; null where
        # there is nothing that could be predicted.
        pa.field("score", pa.float64()),
        pa.field("probability", pa.float64()),
        # In characters; of the first gold, null where there is none.
        pa.field("question_length", pa.int32()),
        pa.field("context_length", pa.int32()),
        pa.field("answer_length", pa.int32()),
        # How many windows the question was cut into.
        pa.field("windows", pa.int32()),
        # The best candidates, best first; the null answer among them is the empty span (0, 0).
        pa.field("answers", pa.list_(_ANSWER)),
    ]
)
"""The columns of the table."""

_ALWAYS_SCORED = ("exact_match", "f1")
_SCORES = (*_ALWAYS_SCORED, "span_exact_match", "span_f1", "null_exact_match", "null_f1")
_HIGHEST = 100 * (1 + 1e-9)  # but for rounding

_RULE = b"rule"
_PART = 1000


def tabulate(predictions: Iterable[Prediction], rule: str | None) -> pa.Table:
    """Makes a row with the columns of ``SCHEMA`` for each prediction, in the data's order.

    Args:
        predictions: What the model says, in any order.
        rule: The rule to score by, as `scoring.rules.rule_name` names it; None: they are not scored.
    """
    ordered = sorted(predictions, key=lambda prediction: prediction.question.row)
    score = None if rule is None else scorer(rule)
    # In parts, since Python's objects take many times the room of their columns.
    parts = [_part(ordered[first : first + _PART], score) for first in range(0, len(ordered), _PART)]
    table = pa.concat_tables(parts or [SCHEMA.empty_table()]).unify_dictionaries()
    return table.replace_schema_metadata({} if rule is None else {_RULE: rule})


def scored_by(table: pa.Table) -> str:
    """The rule by which a table's questions were scored; empty where it does not say."""
    return (table.schema.metadata or {}).get(_RULE, b"").decode()


def write_table(path: Path, table: pa.Table) -> None:
    """Writes a table of `tabulate` as Parquet, whole or not at all."""
    with whole_file(path) as unfinished:
        # Of the other columns, nearly every value differs.
        repeated = ["question_type", "context"]
        pq.write_table(
            table, unfinished, compression="zstd", use_dictionary=repeated, dictionary_pagesize_limit=1 << 30
        )


def read_table(path: Path) -> pa.Table:
    """Reads what `write_table` wrote; each column is one chunk.

    Raises:
        UserError: Where a column is not there.
    """
    table = pq.read_table(path)
    missing = [name for name in SCHEMA.names if name not in table.column_names]
    if missing:
        raise UserError(f"{path}: not a table of per-question scores: it has no column {', '.join(missing)}")
    table = table.select(SCHEMA.names).cast(SCHEMA.with_metadata(table.schema.metadata))
    return table.unify_dictionaries().combine_chunks()


_COMPLETE = ("row", "id", "question", "context", "prediction")


def read_questions(run: str | Path, complete: Sequence[str] = ()) -> pa.Table:
    """Reads the table of a run, and checks it.

    Args:
        run: The folder of a ``fit``, ``validate`` or ``test``, or of one named evaluation set in it.
        complete: Columns that must be there for every question, besides those that no table can do without.

    Raises:
        UserError: Where there is none, or the file is not what it should be.
    """
    path = RunFolder(Path(run)).questions
    if not Path(run).is_dir():
        raise UserError(f"{run}: no such folder")
    if not path.is_file():
        parts = sorted(found.parent.name for found in Path(run).glob(f"*/{path.name}"))
        hint = f"; its folders {', '.join(parts)} have some: name one of these" if parts else ""
        raise UserError(f"{run}: no per-question scores there (no {path.name}){hint or '; run validate or test first'}")
    try:
        table = read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a table of per-question scores: {str(error).splitlines()[0]}") from error
    _check(table, path, (*_COMPLETE, *complete))
    return table


def _check(table: pa.Table, path: Path, complete: Sequence[str]) -> None:
    """Refuses a table of which figures would be wrong: with questions twice, and where scores are no scores."""
    for name in complete:
        _refuse_where(table[name].is_null(), table, path, f"{name} is missing")
    for name in ("golds", "answers"):
        lists = table[name].combine_chunks()
        of_row = pc.list_parent_indices(lists).to_numpy()
        holes = of_row[np.asarray(pc.list_flatten(lists).is_null())]
        _refuse_where(np.isin(np.arange(len(table)), holes), table, path, f"one of its {name} is missing")
    ids = table["id"].combine_chunks().dictionary_encode().indices.to_numpy()
    again = np.ones(len(table), dtype=bool)
    again[np.unique(ids, return_index=True)[1]] = False
    _refuse_where(again, table, path, "the question is there twice")
    known = np.asarray(table["golds"].is_valid())
    for name in _SCORES:
        score = table[name]
        value = score.to_numpy()
        no_score = np.asarray(score.is_valid()) & ~((value >= 0) & (value <= _HIGHEST))
        _refuse_where(no_score, table, path, f"{name} is no score from 0 to 100")
        if name in _ALWAYS_SCORED:
            _refuse_where(np.asarray(score.is_null()) & known, table, path, f"{name} is missing")
        _refuse_where(np.asarray(score.is_valid()) & ~known, table, path, f"{name} is there without golds")


def _refuse_where(wrong: object, table: pa.Table, path: Path, what: str) -> None:
    rows = np.flatnonzero(np.asarray(wrong))
    if len(rows):
        raise UserError(
            f"{path}: row {rows[0] + 1} (id {table['id'][int(rows[0])].as_py()}): {what}; write the file anew with "
            "validate or test"
        )


def _part(predictions: Sequence[Prediction], score: Scorer | None) -> pa.Table:
    """The rows of some predictions, in their order."""
    questions = [prediction.question for prediction in predictions]
    spans = [prediction.answers.span for prediction in predictions]
    nulls = [prediction.answers.null for prediction in predictions]
    chosen = [
        span if prediction.text else null for prediction, span, null in zip(predictions, spans, nulls, strict=True)
    ]
    columns = {
        "row": [question.row for question in questions],
        "id": [question.id for question in questions],
        "question": [question.question for question in questions],
        "question_type": [question_type(question.question) for question in questions],
        "context": pa.array([question.context for question in questions], pa.string()).dictionary_encode(),
        "golds": [_golds(question) for question in questions],
        "prediction": [prediction.text for prediction in predictions],
        "null_odds": [prediction.null_odds for prediction in predictions],
        "na_prob": [null and null.probability for null in nulls],
        "score": [answer and answer.score for answer in chosen],
        "probability": [answer and answer.probability for answer in chosen],
        "question_length": [len(question.question) for question in questions],
        "context_length": [len(question.context) for question in questions],
        "answer_length": [len(question.golds[0]) if question.golds else None for question in questions],
        "windows": [question.windows for question in questions],
        "answers": _answers(predictions),
    }
    answers = {
        "": columns["prediction"],
        "span_": [span.text if span else "" for span in spans],
        "null_": [""] * len(spans),
    }
    for prefix, texts in answers.items():
        scores = [_score(score, text, question.golds) for text, question in zip(texts, questions, strict=True)]
        columns[f"{prefix}exact_match"], columns[f"{prefix}f1"] = map(list, zip(*scores, strict=True))
    return pa.table(columns, SCHEMA)


def _score(score: Scorer | None, text: str, golds: Sequence[str] | None) -> tuple[float | None, float | None]:
    """EM and F1, 0 to 100, where golds are known and a rule is given."""
    if score is None or golds is None:
        return None, None
    exact_match, f1 = score(text, golds)
    return 100 * exact_match, 100 * f1


def _golds(question: Question) -> list[dict[str, object]] | None:
    if question.golds is None:
        return None
    spans = [span or (None, None) for span in question.gold_spans]
    return [
        {"text": text, "start": start, "end": end} for text, (start, end) in zip(question.golds, spans, strict=True)
    ]


def _answers(predictions: Sequence[Prediction]) -> pa.Array:
    """The column ``answers``, whose numbers are taken as arrays."""
    from qa_lightning.records import ANSWER

    rows = np.frombuffer(b"".join([prediction.answers.rows.tobytes() for prediction in predictions]), dtype=ANSWER)
    bounds = np.cumsum([0, *[len(prediction.answers) for prediction in predictions]])
    texts = [
        prediction.question.context[start:end]
        for prediction in predictions
        for start, end in prediction.answers.rows[["start", "end"]].tolist()
    ]
    numbers = [pa.array(rows[field.name]).cast(field.type) for field in list(_ANSWER)[1:]]
    values = pa.StructArray.from_arrays([_strings(texts), *numbers], fields=list(_ANSWER))
    return pa.ListArray.from_arrays(pa.array(bounds, pa.int32()), values)


def _strings(texts: Sequence[str]) -> pa.StringArray:
    """A column of texts in no more memory than they need.

    ``pa.array`` doubles its buffer again and again, and the ones it outgrew stay with Arrow's allocator.
    """
    encoded = [text.encode() for text in texts]
    bounds = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(encoded), pa.py_buffer(bounds), pa.py_buffer(b"".join(encoded)))

"""The table of a run's questions, one row each, that comparing and reporting start from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from qa_lightning.errors import UserError
from qa_lightning.files import whole_file
from qa_lightning.question_types import question_type
from qa_lightning.scoring.rules import scorer
from qa_lightning.scoring.squad import Scorer

if TYPE_CHECKING:  # the verbs that read a table need no torch
    from qa_lightning.records import Prediction

FILE = "per_question.parquet"
"""The table's name in a run's folder, or in that of a named evaluation set."""

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
        # As `question_type` tells it: "how many", "who".
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

_RULE = b"rule"


def tabulate(predictions: Sequence[Prediction], rule: str | None) -> pa.Table:
    """A row with the columns of ``SCHEMA`` for each prediction, in the data's order.

    Args:
        predictions: What the model says, in any order.
        rule: The rule to score by, as `scoring.rules.rule_of` names it; None: they are not scored.
    """
    score = None if rule is None else scorer(rule)
    rows = [_row(prediction, score) for prediction in sorted(predictions, key=lambda one: one.question.row)]
    return pa.Table.from_pylist(rows, SCHEMA).replace_schema_metadata({} if rule is None else {_RULE: rule})


def scored_by(table: pa.Table) -> str:
    """The rule by which a table's questions were scored; empty where it does not tell."""
    return (table.schema.metadata or {}).get(_RULE, b"").decode()


def write_table(path: Path, table: pa.Table) -> None:
    """Writes a table of `tabulate` as Parquet, whole or not at all."""
    with whole_file(path) as unfinished:
        pq.write_table(table, unfinished, compression="zstd", dictionary_pagesize_limit=1 << 30)


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


def questions_of(run: str | Path) -> pa.Table:
    """The table of a run.

    Args:
        run: The folder of a ``fit``, ``validate`` or ``test``, or of one named evaluation set in it.

    Raises:
        UserError: Where there is none, or the file is not what it should be.
    """
    path = Path(run, FILE)
    if not path.is_file():
        parts = sorted(found.parent.name for found in Path(run).glob(f"*/{FILE}"))
        hint = f"; its folders {', '.join(parts)} have some: name one of these" if parts else ""
        raise UserError(f"{run}: no per-question scores there (no {FILE}){hint or '; run validate or test first'}")
    try:
        return read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a table of per-question scores: {str(error).splitlines()[0]}") from error


def _row(prediction: Prediction, score: Scorer | None) -> dict[str, object]:
    question = prediction.question
    golds = question.golds
    span = next((answer for answer in prediction.answers if answer.text), None)
    null = next((answer for answer in prediction.answers if not answer.text), None)
    chosen = next((answer for answer in prediction.answers if answer.text == prediction.text), None)
    texts = (prediction.text, span.text if span else "", "")
    scores: list[tuple[float | None, float | None]] = [(None, None)] * len(texts)
    if golds is not None and score is not None:
        scores = [(100 * exact, 100 * f1) for exact, f1 in (score(text, golds) for text in texts)]
    return {
        "row": question.row,
        "id": question.id,
        "question": question.question,
        "question_type": question_type(question.question),
        "context": question.context,
        "golds": None if golds is None else [_gold(*gold) for gold in zip(golds, question.gold_spans, strict=True)],
        "prediction": prediction.text,
        **{
            f"{of}{name}": value
            for of, values in zip(("", "span_", "null_"), scores, strict=True)
            for name, value in zip(("exact_match", "f1"), values, strict=True)
        },
        "null_odds": prediction.null_odds,
        "na_prob": None if null is None else null.probability,
        "score": None if chosen is None else chosen.score,
        "probability": None if chosen is None else chosen.probability,
        "question_length": len(question.question),
        "context_length": len(question.context),
        "answer_length": len(golds[0]) if golds else None,
        "windows": question.windows,
        "answers": [
            {
                "text": answer.text,
                "start": answer.start,
                "end": answer.end,
                "start_logit": answer.start_logit,
                "end_logit": answer.end_logit,
                "probability": answer.probability,
            }
            for answer in prediction.answers
        ],
    }


def _gold(text: str, span: tuple[int, int] | None) -> dict[str, object]:
    start, end = span or (None, None)
    return {"text": text, "start": start, "end": end}

"""Answers each question once, from all contexts that the rows of a table of predictions ask it of."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from qa_lightning.decoding.answers import RankedSpans, span_scores
from qa_lightning.decoding.documents import BestOfDocuments
from qa_lightning.reader.document_answers import format_document_answers, no_answer_in_documents
from qa_lightning.reader.documents import predict_from_documents
from qa_lightning.records import ANSWER, AnswerDict
from qa_lightning.utils.files import whole_file

_NUMBERS = ("start", "end", "start_logit", "end_logit")


def write_answers_by_question(path: Path, table: pa.Table, n_best_size: int, null_score_diff_threshold: float) -> None:
    """Writes a line of JSON for each question, as ``ask --json`` prints it.

    Args:
        path: The file.
        table: What `tabulate` returned.
        n_best_size: As in `answers_by_question`.
        null_score_diff_threshold: As there.
    """
    with whole_file(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        for answer in answers_by_question(table, n_best_size, null_score_diff_threshold):
            file.write(json.dumps(answer, ensure_ascii=False) + "\n")


def answers_by_question(
    table: pa.Table, n_best_size: int, null_score_diff_threshold: float
) -> Iterator[dict[str, Any]]:
    """Answers each question once, from all contexts that rows with its text have, in the order of their first rows.

    The answers are those of a `Reader` that is given these contexts, whose names are the ids of the rows. (Of a row
    whose null is among its ``n_best_size`` best answers, the table lacks the last span of these.)

    Args:
        table: What `tabulate` returned.
        n_best_size: Number of answers of a question that scores are a softmax over.
        null_score_diff_threshold: The margin by which null must lead to be predicted.

    Returns:
        For each question its text as ``question``, and what a Reader returns for it.
    """
    # Rows are taken out of one chunk: of several, each question would have all of them put together.
    table = table.select(["id", "question", "context", "answers"]).combine_chunks()
    rows_of: dict[str, list[int]] = {}
    for row, question in enumerate(table["question"].to_pylist()):
        rows_of.setdefault(question, []).append(row)
    for question, rows in rows_of.items():
        best = BestOfDocuments(n_best_size, texts=0)
        of_question = table.select(["id", "context", "answers"]).take(rows).to_pylist()
        for number, record in enumerate(of_question):
            best.add(_ranked(record["answers"], n_best_size), {number: record["context"]})
        names = [record["id"] for record in of_question]
        prediction = predict_from_documents(question, best, null_score_diff_threshold, names)
        found: list[AnswerDict] = format_document_answers(prediction, 1, n_best_size)
        yield {"question": question} | (found or [no_answer_in_documents()])[0]


def _ranked(answers: list[Mapping[str, Any]], size: int) -> RankedSpans:
    """The spans and the null of one row, whose answers have null among them where it is allowed."""
    rows = np.zeros(len(answers), dtype=ANSWER)
    for name in _NUMBERS:
        rows[name] = [answer[name] for answer in answers]
    own, nulls = rows[rows["end"] > 0], rows[rows["end"] == 0]
    spans, scores = np.zeros((1, size), dtype=ANSWER), np.full((1, size), -np.inf)
    spans[0, : len(own)] = own
    scores[0, : len(own)] = span_scores(own)
    return RankedSpans(spans, scores, np.array([len(own)]), nulls if len(nulls) else None)

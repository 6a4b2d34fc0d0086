"""Answers from many documents: which document each stands in, and all the places of those with the same text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, overload

from qa_lightning.reader.formatting import NO_ANSWER_FOUND, answer_dict, scored_answers
from qa_lightning.records import Answer, AnswerDict, AnswerRows, Answers

DocumentName = int | str
"""What a document is called: its number from 0, or the name that it was given with."""


def no_answer_in_documents() -> AnswerDict:
    """The answer where no document has a text that could be one."""
    return {**NO_ANSWER_FOUND, "document": None, "places": []}


@dataclass(slots=True)
class DocumentAnswer(Answer):
    """One candidate answer; null stands in no document.

    Attributes:
        document: The document that it stands in; None for null.
    """

    document: DocumentName | None = None


class DocumentAnswers(Answers):
    """The candidate answers to one question from many documents, best first.

    Args:
        rows: The candidates; `DOCUMENT_ANSWER` ``[answers]``.
        texts: The text of each.
        names: What the documents are called, by number; None: by their numbers.
    """

    __slots__ = ("names", "texts")

    def __init__(self, rows: AnswerRows, texts: Sequence[str], names: Sequence[str] | None = None) -> None:
        super().__init__("", rows)
        self.texts = texts
        self.names = names

    @overload
    def __getitem__(self, place: int) -> DocumentAnswer: ...
    @overload
    def __getitem__(self, place: slice) -> DocumentAnswers: ...
    def __getitem__(self, place: int | slice) -> DocumentAnswer | DocumentAnswers:
        if isinstance(place, slice):
            return DocumentAnswers(self.rows[place], self.texts[place], self.names)
        start, end, start_logit, end_logit, probability, document = self.rows[place].item()
        name = None if document < 0 else document if self.names is None else self.names[document]
        return DocumentAnswer(self.texts[place], start, end, start_logit, end_logit, probability, name)


class DocumentPrediction(NamedTuple):
    """The prediction for one question over all of its documents.

    Attributes:
        question: The question.
        text: The answer; empty where null was predicted.
        answers: The best candidates of all documents, best first; with null allowed, one null is among them.
        null_odds: Null score, the minimum over the windows of all documents, minus the best other score; None where
            null was not allowed.
    """

    question: str
    text: str
    answers: DocumentAnswers
    null_odds: float | None


def format_document_answers(prediction: DocumentPrediction, top_k: int, n_best_size: int) -> list[AnswerDict]:
    """Lists the best answers to a question as `format_answers` does, each with all places of its text.

    Args:
        prediction: The prediction, with any number of answers.
        top_k: Number of answers.
        n_best_size: As in `format_answers`.

    Returns:
        For each answer ``score``, ``start``, ``end`` and ``answer``; ``document``, which holds its best place; and
        ``places``, all of those among the candidates, best first, each with ``document``, ``start``, ``end`` and
        ``score``. Null has no document and no places.
    """
    found: dict[str, AnswerDict] = {}
    seen: set[tuple[Any, int, int]] = set()
    for answer, score in scored_answers(prediction, n_best_size):
        place = (answer.document, answer.start, answer.end)
        text = answer.text.casefold()
        if place in seen or (text not in found and len(found) == top_k):
            continue
        seen.add(place)
        listed = found.setdefault(text, {**answer_dict(answer, score), "document": answer.document, "places": []})
        if answer.document is not None:
            document, start, end = place
            listed["places"].append({"document": document, "start": start, "end": end, "score": score})
    return list(found.values())

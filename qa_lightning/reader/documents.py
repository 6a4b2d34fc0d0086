"""Answers questions from many documents, which are read one after the other and not kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from qa_lightning.decoding.answers import RankedSpans
from qa_lightning.decoding.documents import BestOfDocuments
from qa_lightning.reader.distinct_answers import append_rows
from qa_lightning.reader.document_answers import (
    DocumentAnswers,
    DocumentPrediction,
    format_document_answers,
    no_answer_in_documents,
)
from qa_lightning.reader.inputs import Pair
from qa_lightning.reader.scored_questions import QuestionReader
from qa_lightning.reader.settings import Settings
from qa_lightning.records import AnswerDict


class DocumentPair(NamedTuple):
    """A question and one of its documents.

    Attributes:
        question: The question.
        context: The document's text.
        row: The question's number.
        document: The document's number.
    """

    question: str
    context: str
    row: int
    document: int


class DocumentReading:
    """Questions that are being answered from documents.

    Args:
        reader: What reads the documents.
        questions: The questions.
        settings: How they are answered.
        names: What the documents are called, by number; None: by their numbers.
    """

    def __init__(
        self, reader: QuestionReader, questions: Sequence[str], settings: Settings, names: Sequence[str] | None = None
    ) -> None:
        self.questions = questions
        self._settings = settings
        self._names = names
        self._scorer = reader.for_documents(settings, len(questions))
        texts = settings.top_k if settings.top_k > 1 else 0
        self._best = [BestOfDocuments(settings.n_best_size, texts) for _ in questions]

    @property
    def passes(self) -> int:
        """How often the documents are to be read."""
        return self._scorer.passes

    def read(self, pairs: Sequence[DocumentPair], number: int = 0) -> None:
        """Reads some documents, together.

        Args:
            pairs: The documents, with the questions; each pair once in a pass, in any order.
            number: Which pass it is, from 0.
        """
        texts = [Pair(pair.question, pair.context) for pair in pairs]
        scored = self._scorer.score(texts, [pair.row for pair in pairs], number)
        if scored is None:
            return
        ranked = scored.ranked_spans()
        places: dict[int, dict[int, int]] = {}
        for place, pair in enumerate(pairs):
            places.setdefault(pair.row, {})[pair.document] = place
        unfinished: dict[int, DocumentPair] = {}
        for row, of_documents in places.items():
            chosen = [*of_documents.values()]
            nulls = None if ranked.nulls is None else ranked.nulls[chosen]
            found = RankedSpans(ranked.spans[chosen], ranked.scores[chosen], ranked.counts[chosen], nulls)
            contexts = {document: pairs[place].context for document, place in of_documents.items()}
            for document in self._best[row].add(found, contexts):
                unfinished[of_documents[document]] = pairs[of_documents[document]]
        for place, spans in (scored.distinct_spans(unfinished) if unfinished else {}).items():
            pair = unfinished[place]
            self._best[pair.row].texts.add(spans, pair.document, pair.context)

    def predictions(self) -> list[DocumentPrediction]:
        """Predicts, in the order of the questions, with all ``n_best_size`` answers and the null odds."""
        threshold = self._settings.null_score_diff_threshold
        return [
            predict_from_documents(question, best, threshold, self._names)
            for question, best in zip(self.questions, self._best, strict=True)
        ]

    def results(self) -> list[Any]:
        """The answer to each question, in order, or with ``top_k`` above 1 the list of its answers."""
        if self._settings.top_k > 1:
            return self.answers()
        return [(found or [no_answer_in_documents()])[0] for found in self.answers()]

    def answers(self) -> list[list[AnswerDict]]:
        """Lists the best ``top_k`` answers to each question, in order."""
        top_k, n_best_size = self._settings.top_k, self._settings.n_best_size
        listed = []
        for prediction, best in zip(self.predictions(), self._best, strict=True):
            found = format_document_answers(prediction, top_k, n_best_size)
            if len(found) < top_k and len(prediction.answers) >= n_best_size:
                rows, texts = best.texts.best()
                rows = append_rows(prediction.answers.rows, rows)
                more = DocumentAnswers(rows, [*prediction.answers.texts, *texts], self._names)
                longer = DocumentPrediction(prediction.question, prediction.text, more, prediction.null_odds)
                found = format_document_answers(longer, top_k, n_best_size)
            listed.append(found)
        return listed


def predict_from_documents(
    question: str, best: BestOfDocuments, null_score_diff_threshold: float, names: Sequence[str] | None = None
) -> DocumentPrediction:
    """Predicts the answer to a question whose documents were all seen.

    Args:
        question: The question.
        best: Its best answers.
        null_score_diff_threshold: The margin by which null must lead to be predicted.
        names: What the documents are called, by number; None: by their numbers.
    """
    ranked, texts = best.ranked(null_score_diff_threshold)
    text = "" if ranked.says_null[0] else next(filter(None, texts))
    return DocumentPrediction(question, text, DocumentAnswers(ranked.answers[0], texts, names), ranked.null_odds[0])

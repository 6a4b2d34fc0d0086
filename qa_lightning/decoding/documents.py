"""Keeps the best answers to a question while its documents are read, one after the other, and one null for all."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from qa_lightning.decoding.answers import RankedAnswers, RankedSpans, rank_with_null, span_scores
from qa_lightning.decoding.distinct import fold_case
from qa_lightning.decoding.temperatures import PLAIN_SOFTMAX, Temperatures
from qa_lightning.records import ANSWER, AnswerRows
from qa_lightning.utils.arrays import IntArray

_FIELDS = ANSWER.names or ()

DOCUMENT_ANSWER = np.dtype([*((name, ANSWER[name]) for name in _FIELDS), ("document", "i8")])
"""An `ANSWER` with the number of its document; null has -1 there."""


class BestOfDocuments:
    """Collects the best answers to one question over any number of documents, in memory that does not grow with them.

    The answers are those that there would be if the windows of all documents were windows of one: scores are compared
    as they are, null scores the minimum over all windows, and probabilities are a softmax over the best answers of all
    documents. Spans with the same score are ordered by their document, then by their start, then by their end.

    Args:
        size: Number of answers that are kept: ``n_best_size``.
        texts: Number of distinct texts of which the best span is kept, too, wherever it ranks.
    """

    def __init__(self, size: int, texts: int) -> None:
        self.size = size
        self.texts = BestTexts(texts)
        self._rows = np.zeros(0, dtype=DOCUMENT_ANSWER)
        self._null = np.zeros(0, dtype=DOCUMENT_ANSWER)
        self._text_of: dict[tuple[int, int, int], str] = {}

    def add(self, found: RankedSpans, contexts: Mapping[int, str]) -> list[int]:
        """Adds the best spans of some documents.

        Args:
            found: Their spans.
            contexts: Their texts by their numbers, in the same order; none was added before.

        Returns:
            The numbers of those that may hold more texts that are among the best distinct ones: what is found among all
            of their spans goes to ``texts``.
        """
        documents = np.array([*contexts])
        rows = _with_documents(found.spans, documents)
        self._keep_best(rows[np.isfinite(found.scores)], contexts)
        if found.nulls is not None:
            nulls = np.concatenate([self._null, _with_documents(found.nulls, np.full(len(documents), -1))])
            order = np.lexsort((nulls["end_logit"], nulls["start_logit"], span_scores(nulls)))
            self._null = nulls[order[:1]]
        if not self.texts.count:
            return []
        for number, of_document, count in zip(contexts, found.spans, found.counts.tolist(), strict=True):
            self.texts.add(of_document[:count], number, contexts[number])
        # One with fewer spans has no others; of one with more, they score no better than the last that is known.
        many = found.counts + (found.nulls is not None) >= self.size
        last = found.scores[np.arange(len(documents)), found.counts - 1]
        return documents[many & (last >= self.texts.lowest)].tolist()

    def ranked(
        self, null_score_diff_threshold: float, temperatures: Temperatures = PLAIN_SOFTMAX
    ) -> tuple[RankedAnswers, list[str]]:
        """Decides between null, where that is allowed, and the best span, and computes probabilities.

        Args:
            null_score_diff_threshold: The margin by which null must lead to be predicted.
            temperatures: How scores become probabilities.

        Returns:
            The answers, `DOCUMENT_ANSWER`, and the text of each.
        """
        count = len(self._rows)
        spans, scores = np.zeros((1, self.size), dtype=DOCUMENT_ANSWER), np.full((1, self.size), -np.inf)
        spans[0, :count], scores[0, :count] = self._rows, span_scores(self._rows)
        nulls = self._null if len(self._null) else None
        found = RankedSpans(spans, scores, np.array([count]), nulls)
        ranked = rank_with_null(found, null_score_diff_threshold, temperatures)
        return ranked, [self._text_of.get(place, "") for place in map(_place, ranked.answers[0])]

    def _keep_best(self, rows: AnswerRows, contexts: Mapping[int, str]) -> None:
        rows = np.concatenate([self._rows, rows])
        order = np.lexsort((rows["end"], rows["start"], rows["document"], -span_scores(rows)))
        self._rows = rows[order[: self.size]]
        texts = {}
        for place in map(_place, self._rows):
            document, start, end = place
            texts[place] = contexts[document][start:end] if document in contexts else self._text_of[place]
        self._text_of = texts


class BestTexts:
    """The best span of each of the best distinct texts; texts that differ in case only are the same.

    Args:
        count: How many texts.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._found: dict[str, tuple[tuple[float, int, int, int], np.void, str]] = {}

    @property
    def lowest(self) -> float:
        """What a further text must score at least to be among them."""
        if len(self._found) < self.count:
            return -np.inf
        return min(-order[0] for order, *_ in self._found.values())

    def add(self, spans: AnswerRows, document: int, context: str) -> None:
        """Adds spans of a document.

        Args:
            spans: `ANSWER` ``[spans]``.
            document: Its number.
            context: Its text.
        """
        spans = spans[span_scores(spans) >= self.lowest]
        rows = _with_documents(spans, np.full(len(spans), document))
        for row, score in zip(rows, span_scores(rows).tolist(), strict=True):
            _, start, end = _place(row)
            text, order = context[start:end], (-score, document, start, end)
            folded = fold_case(text)
            if folded not in self._found or order < self._found[folded][0]:
                self._found[folded] = (order, row, text)
        if len(self._found) > self.count:
            self._found = dict(sorted(self._found.items(), key=lambda item: item[1][0])[: self.count])

    def best(self) -> tuple[AnswerRows, list[str]]:
        """The spans, best first, `DOCUMENT_ANSWER` without probabilities, and their texts."""
        found = sorted(self._found.values(), key=lambda found: found[0])
        rows = np.zeros(len(found), dtype=DOCUMENT_ANSWER)
        for i, (_, row, _) in enumerate(found):
            rows[i] = row
        return rows, [text for *_, text in found]


def _with_documents(rows: AnswerRows, documents: IntArray) -> AnswerRows:
    """Rows of `ANSWER` with the numbers of their documents, one for each along the first axis."""
    found = np.zeros(rows.shape, dtype=DOCUMENT_ANSWER)
    for name in _FIELDS:
        found[name] = rows[name]
    found["document"] = documents.reshape(-1, *[1] * (rows.ndim - 1))
    return found


def _place(row: np.void) -> tuple[int, int, int]:
    """Document, start and end of a row of `DOCUMENT_ANSWER`."""
    return int(row["document"]), int(row["start"]), int(row["end"])

"""Finds the paragraphs of texts in which a question is likely to be answered, by BM25 over their words."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from qa_lightning.reader.document_answers import no_answer_in_documents
from qa_lightning.reader.reader import Reader
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.extras import require


class Paragraph(NamedTuple):
    """A paragraph of a text.

    Attributes:
        document: The text's name.
        start: Its first character.
        end: The end, exclusive.
    """

    document: str
    start: int
    end: int


class ParagraphIndex:
    """The paragraphs of texts, ranked for a question by BM25, whatever the language.

    A paragraph ends at an empty line. Words are those between the word boundaries of Unicode, in any case. The index is
    in memory, the texts are not.

    Args:
        texts: Texts by name, such as a `TextFolder`; they are read one by one.

    Raises:
        UserError: Where bm25s is not installed, or the texts have no words.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        bm25s = require("bm25s", "retrieval")
        self.texts = texts
        self.paragraphs: list[Paragraph] = []
        vocabulary: dict[str, int] = {}
        words_of: list[list[int]] = []
        for name, text in texts.items():
            for start, end in split_paragraphs(text):
                self.paragraphs.append(Paragraph(name, start, end))
                words_of.append([vocabulary.setdefault(word, len(vocabulary)) for word in words(text[start:end])])
        if not vocabulary:
            raise UserError("the texts have no words that paragraphs could be found by; ask without retrieval")
        self._index: Any = bm25s.BM25()
        self._index.index((words_of, vocabulary), show_progress=False)

    def best(self, question: str, count: int) -> list[Paragraph]:
        """Finds the paragraphs that BM25 ranks first, in the order of the texts.

        Args:
            question: The question.
            count: How many; fewer where only so many have a word of it.
        """
        asked = words(question)
        scores = self._index.get_scores(asked) if asked else np.zeros(len(self.paragraphs))
        ranked = np.argsort(-scores, kind="stable")[:count]
        return [self.paragraphs[place] for place in sorted(ranked[scores[ranked] > 0].tolist())]

    def ask(self, reader: Reader, question: str, count: int, **settings: Any) -> Any:
        """Answers a question from the paragraphs that BM25 ranks first.

        Args:
            reader: What answers.
            question: The question.
            count: How many paragraphs.
            **settings: Those of a call of the reader.

        Returns:
            What the reader returns; documents are the names of the texts, and places are counted in these. Where no
            paragraph has a word of the question, there is no answer, and a warning says so.
        """
        chosen = self.best(question, count)
        if not chosen:
            warnings.warn(f"no paragraph has a word of the question {question!r:.80}", stacklevel=2)
            several = reader.settings.updated(settings).top_k > 1
            return [] if several else no_answer_in_documents()
        contexts = [self.texts[each.document][each.start : each.end] for each in chosen]
        found = reader(question=question, contexts=contexts, **settings)
        return [_placed(each, chosen) for each in found] if isinstance(found, list) else _placed(found, chosen)


def _placed(answer: dict[str, Any], paragraphs: Sequence[Paragraph]) -> dict[str, Any]:
    """An answer, or one of its places, counted in its text rather than in a paragraph."""
    places = {"places": [_placed(place, paragraphs) for place in answer["places"]]} if "places" in answer else {}
    if answer["document"] is None:
        return answer
    paragraph = paragraphs[answer["document"]]
    start, end = (answer[name] + paragraph.start for name in ("start", "end"))
    return answer | {"document": paragraph.document, "start": start, "end": end} | places


def split_paragraphs(text: str) -> Iterator[tuple[int, int]]:
    """Finds the paragraphs of a text, without the white space around them: starts and ends, exclusive."""
    begin = 0
    for found in [*_breaks().finditer(text), None]:
        end = len(text) if found is None else found.start()
        part = text[begin:end]
        if part.strip():
            start = begin + len(part) - len(part.lstrip())
            yield start, start + len(part.strip())
        if found is not None:
            begin = found.end()


def words(text: str) -> list[str]:
    """Finds the words of a text, in lower case; where no white space stands between words, single characters."""
    pieces = _borders().split(text.casefold())
    return [piece for piece in pieces if piece and any(character.isalnum() for character in piece)]


@cache
def _breaks() -> Any:
    import regex

    return regex.compile(r"\n[^\S\n]*(?:\n\s*)+")


@cache
def _borders() -> Any:
    import regex

    return regex.compile(r"\b", regex.WORD | regex.VERSION1)

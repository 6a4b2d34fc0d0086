"""What a request may bring at most."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import NamedTuple

from qa_lightning.reader.document_inputs import DocumentQuestions
from qa_lightning.reader.documents import DocumentPair
from qa_lightning.reader.inputs import Pair
from qa_lightning.utils.errors import UserError


@dataclass(frozen=True)
class Limits:
    """What a request may bring at most.

    Attributes:
        max_body_bytes: Bytes of its body.
        max_context_characters: Characters of one context, and of one question.
        max_questions: Questions.
        max_contexts: Contexts, where questions have several; those of each question count.
    """

    max_body_bytes: int = 1 << 20
    max_context_characters: int = 100_000
    max_questions: int = 128
    max_contexts: int = 1000

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value < 1:
                raise UserError(f"{name} must be at least 1, not {value}")

    def check(self, pairs: Iterator[Pair]) -> list[Pair]:
        """Checks questions with their contexts, and returns them.

        Raises:
            UserError: Where they are too many, or one of them is too long.
        """
        some = list(islice(pairs, self.max_questions + 1))
        self._check_questions(len(some))
        for number, pair in enumerate(some, 1):
            for name, text in (("question", pair.question), ("context", pair.context)):
                self._check_text(text, f"question {number}: its {name}")
        return some

    def check_documents(self, asked: Iterator[DocumentQuestions]) -> list[DocumentRequest]:
        """Checks questions with their documents, and returns them.

        Raises:
            UserError: Where they are too many, or one of them is too long.
        """
        found: list[DocumentRequest] = []
        for group in asked:
            self._check_questions(len(group.questions) + sum(len(each.questions) for each in found))
            room = self.max_contexts - sum(len(each.pairs) for each in found)
            pairs = list(islice(group.pairs(), room + 1))
            if len(pairs) > room:
                raise UserError(
                    f"more than {self.max_contexts:,} contexts in one request, those of each question counted "
                    "(--max_contexts); send fewer"
                )
            for question in group.questions:
                self._check_text(question, "a question")
            for pair in pairs:
                self._check_text(pair.context, f"the context number {pair.document}")
            found.append(DocumentRequest(group.questions, pairs, group.names))
        return found

    def _check_questions(self, count: int) -> None:
        if count > self.max_questions:
            raise UserError(f"more than {self.max_questions:,} questions in one request (--max_questions); send fewer")

    def _check_text(self, text: str, name: str) -> None:
        if len(text) > self.max_context_characters:
            raise UserError(
                f"{name} has {len(text):,} characters, and {self.max_context_characters:,} are the most allowed "
                "(--max_context_characters)"
            )


class DocumentRequest(NamedTuple):
    """Questions that are asked of the same documents.

    Attributes:
        questions: The questions.
        pairs: Each question with each document.
        names: What the documents are called, by number; None: by their numbers.
    """

    questions: Sequence[str]
    pairs: Sequence[DocumentPair]
    names: Sequence[str] | None

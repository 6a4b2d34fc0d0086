"""Reads questions with the documents that each is to be answered from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from qa_lightning.reader.documents import DocumentPair
from qa_lightning.reader.inputs import InputForm, filled_text
from qa_lightning.utils.errors import UserError

_EXPECTED = (
    "give question=… and contexts=[…], a list or any iterable of texts, or a dict of them by name; or records with the "
    "keys question and contexts"
)


class DocumentQuestions(NamedTuple):
    """Questions that are answered from the same documents.

    Attributes:
        questions: The questions.
        contexts: Gives the documents' texts, from the first on; they are checked as they are read.
        names: What they are called; None: by their numbers.
        once: Whether they can be read once only.
    """

    questions: Sequence[str]
    contexts: Callable[[], Iterator[str]]
    names: Sequence[str] | None
    once: bool

    def pairs(self) -> Iterator[DocumentPair]:
        """Every question with every document, document by document.

        Raises:
            UserError: Where there is no document, or one is not a text, or is empty.
        """
        document = -1
        for document, context in enumerate(self.contexts()):
            for row, question in enumerate(self.questions):
                yield DocumentPair(question, context, row, document)
        if document < 0:
            raise UserError(f"contexts is empty: {_EXPECTED}")


def has_contexts(record: Any) -> bool:
    """Whether a record has several contexts."""
    return isinstance(record, Mapping) and "contexts" in record


def asks_documents(inputs: Any, contexts: Any) -> bool:
    """Whether questions are asked of several contexts, as far as that shows before an iterable of records is read."""
    first = inputs[0] if isinstance(inputs, list | tuple) and inputs else inputs
    return contexts is not None or has_contexts(first)


def read_documents(
    inputs: Any, question: Any, context: Any, contexts: Any
) -> tuple[Iterator[DocumentQuestions], InputForm]:
    """Reads questions with their documents, in the order given.

    Args:
        inputs: A record with a question and its contexts, or several; None where the others are given.
        question: A question or a list of them.
        context: None.
        contexts: The documents of all questions: texts, or a mapping of names to texts.

    Returns:
        The questions, those that are given with the same contexts together, and the form of the input. What is short
        enough to be held is checked at once, an iterator as it is read.

    Raises:
        UserError: For anything else.
    """
    if inputs is not None:
        if (question, context, contexts) != (None, None, None):
            raise UserError(f"questions are given twice: {_EXPECTED}")
        if isinstance(inputs, Mapping):
            return iter([_parse(inputs, "the question")]), "one"
        parsed = (_parse(record, f"question {number}") for number, record in enumerate(inputs, 1))
        return (iter([*parsed]), "list") if isinstance(inputs, list | tuple) else (parsed, "stream")
    if context is not None:
        raise UserError("context and contexts are both given; leave one of them out")
    if isinstance(question, str):
        return iter([_asked([filled_text(question, "the question: its question")], contexts, "contexts")]), "one"
    if question is None or isinstance(question, bytes | Mapping) or not isinstance(question, Collection):
        what = "missing" if question is None else f"{type(question).__name__}, not a text or a list of texts"
        raise UserError(f"question is {what}: {_EXPECTED}")
    questions = [filled_text(text, f"question {number}: its question") for number, text in enumerate(question, 1)]
    return iter([_asked(questions, contexts, "contexts")]), "list"


def _parse(record: Any, name: str) -> DocumentQuestions:
    """Parses a record with a question and its contexts."""
    if not has_contexts(record):
        what = "it has none" if isinstance(record, Mapping) else f"it is {type(record).__name__}"
        raise UserError(f"{name} has no 'contexts', though the first one has ({what}): {_EXPECTED}")
    if record.get("context") is not None:
        raise UserError(f"{name} has both 'context' and 'contexts'; leave one of them out")
    text = filled_text(record.get("question"), f"{name}: its question")
    return _asked([text], record["contexts"], f"{name}: its contexts")


def _asked(questions: Sequence[str], contexts: Any, name: str) -> DocumentQuestions:
    if isinstance(contexts, str | bytes) or not isinstance(contexts, Iterable):
        what = "one text; give it as context=…, or in a list" if isinstance(contexts, str) else type(contexts).__name__
        raise UserError(f"{name} is {what}: {_EXPECTED}")
    names = None
    texts: Iterable[Any] = contexts
    if isinstance(contexts, Mapping):
        names = [filled_text(each, f"{name}: a document's name") for each in contexts]
        texts = contexts.values()

    def checked() -> Iterator[str]:
        for number, text in enumerate(texts):
            called = f"number {number}" if names is None else repr(names[number])
            yield filled_text(text, f"{name}: the document {called:.60}")

    if isinstance(contexts, list | tuple | dict):
        if not contexts:
            raise UserError(f"{name} is empty: {_EXPECTED}")
        for _ in checked():
            pass
    return DocumentQuestions(questions, checked, names, once=isinstance(contexts, Iterator))

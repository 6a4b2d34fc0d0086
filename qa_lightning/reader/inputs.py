"""Reads questions with their contexts from every form of input that a Reader takes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from qa_lightning.data.values import ShapeError, check_text
from qa_lightning.utils.errors import UserError

InputForm = Literal["one", "list", "stream"]
"""Whether the input, and so the output, is one record, a list, or an iterator."""

BLOCK = 1024
"""Questions that are read, tokenised and batched together; an iterator is answered block by block."""

BLOCK_CHARACTERS = 1 << 22
"""About how many characters the questions and contexts of a block have; long ones make smaller blocks."""

_EXPECTED = (
    "give question=… and context=… (texts, or lists of them), a record with the keys question and context, or a list, "
    "a datasets.Dataset or any iterable of such records"
)


class Pair(NamedTuple):
    """A question and the text that its answer is cut from."""

    question: str
    context: str


def read_pairs(inputs: Any, question: Any, context: Any) -> tuple[Iterator[Pair], InputForm]:
    """Reads the questions with their contexts, in the order given.

    Args:
        inputs: A record, or several of them; None where the other two are given. An object like transformers'
            ``SquadExample``, with ``question_text`` and ``context_text``, is a record, too.
        question: A question or a list of them.
        context: The context of all questions, or a list with that of each.

    Returns:
        The pairs, and the form of the input. The pairs of an iterator are checked as they are read, all others at once.

    Raises:
        UserError: For anything else, and when a pair is read whose question or context is not a text, or is empty.
    """
    if (inputs is None) == (question is None and context is None):
        raise UserError(f"no questions: {_EXPECTED}" if inputs is None else f"questions are given twice: {_EXPECTED}")
    if inputs is None:
        return _check_pairs(*_pair_records(question, context))
    if isinstance(inputs, Mapping) or _is_squad_example(inputs):
        return _check_pairs([inputs], "one")
    if isinstance(inputs, list | tuple):
        return _check_pairs(inputs, "list")
    if is_stream(inputs):
        return _check_pairs(inputs, "stream")
    raise UserError(f"questions cannot be read from {type(inputs).__name__}: {_EXPECTED}")


def is_stream(inputs: Any) -> bool:
    """Whether the input is an iterable of records that is answered piece by piece."""
    held = isinstance(inputs, Mapping | list | tuple | str | bytes) or _is_squad_example(inputs)
    return isinstance(inputs, Iterable) and not held


def _pair_records(question: Any, context: Any) -> tuple[Sequence[Any], InputForm]:
    """Makes records from a question or several, and a context or several."""
    for name, value in (("question", question), ("context", context)):
        if isinstance(value, bytes | Mapping) or not isinstance(value, Collection):
            what = "missing" if value is None else f"{type(value).__name__}, not a text or a list of texts"
            raise UserError(f"{name} is {what}: {_EXPECTED}")
    if isinstance(question, str) and isinstance(context, str):
        return [{"question": question, "context": context}], "one"
    count = len(context if isinstance(question, str) else question)
    if not isinstance(question, str) and not isinstance(context, str) and len(question) != len(context):
        raise UserError(
            f"{len(question)} questions and {len(context)} contexts: give lists of equal length, or one context for "
            "all questions"
        )
    questions, contexts = ([texts] * count if isinstance(texts, str) else texts for texts in (question, context))
    return [{"question": q, "context": c} for q, c in zip(questions, contexts, strict=True)], "list"


def _check_pairs(records: Iterable[Any], form: InputForm) -> tuple[Iterator[Pair], InputForm]:
    def pairs() -> Iterator[Pair]:
        for number, record in enumerate(records, 1):
            yield _parse_pair(record, "the question" if form == "one" else f"question {number}")

    # What is short enough to be held is looked through before anything is answered.
    return pairs() if form == "stream" else iter(list(pairs())), form


def _parse_pair(record: Any, name: str) -> Pair:
    """Parses the two texts of a record.

    Raises:
        UserError: One is missing, no text, or empty.
    """
    if _is_squad_example(record):
        record = {"question": record.question_text, "context": record.context_text}
    if not isinstance(record, Mapping):
        raise UserError(f"{name} is {type(record).__name__}, not a record: {_EXPECTED}")
    texts = []
    for key in ("question", "context"):
        if key not in record:
            others = ", ".join(f"{name!r:.40}" for name in islice(record, 5)) or "nothing"
            raise UserError(f"{name} has no {key!r}; it has {others}: {_EXPECTED}")
        texts.append(filled_text(record[key], f"{name}: its {key}"))
    return Pair(*texts)


def filled_text(value: Any, name: str) -> str:
    """Checks that something is a text with more than white space.

    Args:
        value: What should be one.
        name: What it is called in messages.

    Raises:
        UserError: It is no text, or empty.
    """
    try:
        check_text(value)
    except ShapeError as error:
        raise UserError(f"{name} is {error}") from None
    if not value.strip():
        raise UserError(f"{name} is empty; leave it out, or fill it in")
    return str(value)


def _is_squad_example(record: Any) -> bool:
    return hasattr(record, "question_text") and hasattr(record, "context_text")


class HasTexts(Protocol):
    """A question with its context, and whatever else."""

    @property
    def question(self) -> str: ...  # noqa: D102 - see above

    @property
    def context(self) -> str: ...  # noqa: D102 - see above


Asked = TypeVar("Asked", bound=HasTexts)


def split_into_blocks(pairs: Iterator[Asked], most_characters: int = BLOCK_CHARACTERS) -> Iterator[list[Asked]]:
    """Splits questions into blocks that are answered together, of about so many characters at most."""
    block: list[Asked] = []
    characters = 0
    try:
        for pair in pairs:
            block.append(pair)
            characters += len(pair.question) + len(pair.context)
            if len(block) == BLOCK or characters >= most_characters:
                yield block
                block, characters = [], 0
    except Exception:
        if block:  # what the source has given before it failed is answered
            yield block
        raise
    if block:
        yield block

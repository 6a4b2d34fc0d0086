"""Data of SQuAD's shape: XQuAD's English paragraphs, or the package's own, as many copies as it takes.

Every copy is marked with its number, in the context and in the questions, so that none repeats a text of another and
nothing is gained by remembering one.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.harness import SHARED, Size
from qa_lightning.data.synthetic import SyntheticCorpus, build_tokenizer

QUESTIONS: dict[Size, int] = {"full": 88_000, "small": 2_000}
"""Questions of a training set; the full one is that of SQuAD 1.1's, with its 17,700 contexts."""

Question = dict[str, Any]
"""``{"id", "question", "answers": [{"text", "answer_start"}, …]}``, as in SQuAD's JSON."""

_MADE = 240  # paragraphs of the package's own, as many as XQuAD has
_JOINED = 2  # its passages in one of them, which makes one about as long as SQuAD's
_ASKED = 5


class Paragraph(NamedTuple):
    """A context and what is asked about it."""

    context: str
    questions: list[Question]


def squad_shaped(questions: int) -> list[dict[str, Any]]:
    """Makes flat rows, all answerable, about five to a context, which are next to each other.

    Args:
        questions: How many.

    Returns:
        Rows ``{"id", "question", "context", "answers": {"text": [...], "answer_start": [...]}}``.
    """
    return [
        {
            "id": question["id"],
            "question": question["question"],
            "context": paragraph.context,
            "answers": {name: [answer[name] for answer in question["answers"]] for name in ("text", "answer_start")},
        }
        for paragraph in _copies(questions)
        for question in paragraph.questions
    ]


def squad_file(questions: int, folder: Path, joined: int = 1) -> Path:
    """Writes the same questions as SQuAD JSON, a paragraph at a time.

    Args:
        questions: How many.
        folder: Where to write it.
        joined: Paragraphs in a context, which is asked about the first of them: many make long contexts.
    """
    path = folder / f"squad-{questions}-{joined}.json"
    with path.open("w", encoding="utf-8") as stream:
        stream.write('{"version": "1.1", "data": [{"title": "Copies", "paragraphs": [')
        paragraphs = _copies(questions) if joined == 1 else _long(questions, joined)
        for number, paragraph in enumerate(paragraphs):
            stream.write(", " if number else "")
            json.dump({"context": paragraph.context, "qas": paragraph.questions}, stream, ensure_ascii=False)
        stream.write("]}]}\n")
    return path


def tokenizer(size: int = 0) -> Any:
    """BERT's fast tokenizer, or, where its vocabulary is absent, the quickstart's.

    Args:
        size: Tokens that it has at least; those beyond the vocabulary stand for no text.
    """
    from transformers import BertTokenizer

    vocabulary = SHARED / "tokenizers/bert-base-uncased/vocab.txt"
    fast = BertTokenizer(vocab=str(vocabulary)) if vocabulary.is_file() else build_tokenizer()
    known = fast.get_vocab()
    if len(known) >= size:
        return fast
    return BertTokenizer(vocab=known | {f"[spare {row}]": row for row in range(len(known), size)})


def _copies(questions: int) -> Iterator[Paragraph]:
    """Yields paragraphs with this number of questions in total; the first copy of each is as published."""
    originals = _real() or _made()
    left = questions
    for copy in itertools.count():
        for paragraph in originals:
            if not left:
                return
            asked = paragraph.questions[:left]
            left -= len(asked)
            yield _marked(Paragraph(paragraph.context, asked), copy)


def _long(questions: int, joined: int) -> Iterator[Paragraph]:
    """Yields paragraphs that are joined from several, with questions about the first."""
    paragraphs = _copies(sys.maxsize)  # as many as it takes
    while questions > 0:
        first, *others = itertools.islice(paragraphs, joined)
        context = " ".join(paragraph.context for paragraph in (first, *others))
        yield Paragraph(context, first.questions[:questions])
        questions -= len(first.questions)


def _marked(paragraph: Paragraph, copy: int) -> Paragraph:
    """A copy that begins with its number, as its questions do."""
    mark = f"{copy} " if copy else ""
    return Paragraph(
        mark + paragraph.context,
        [
            {
                "id": f"{question['id']}-{copy}",
                "question": mark + question["question"],
                "answers": _moved(question["answers"], len(mark)),
            }
            for question in paragraph.questions
        ],
    )


def _moved(answers: list[dict[str, Any]], by: int) -> list[dict[str, Any]]:
    return [{"text": answer["text"], "answer_start": answer["answer_start"] + by} for answer in answers]


def _real() -> list[Paragraph]:
    """XQuAD in English; nothing where it is absent."""
    path = SHARED / "data/xquad.en.json"
    if not path.is_file():
        return []
    return [
        Paragraph(paragraph["context"], paragraph["qas"])
        for article in json.loads(path.read_text(encoding="utf-8"))["data"]
        for paragraph in article["paragraphs"]
    ]


def _made() -> list[Paragraph]:
    """Passages of the package's own corpus, joined, with five of their questions that have answers."""
    rows = SyntheticCorpus(train_passages=_JOINED * _MADE).rows("train")
    passages = [(context, list(group)) for context, group in itertools.groupby(rows, lambda row: row["context"])]
    paragraphs: list[Paragraph] = []
    for first in range(0, len(passages) - _JOINED + 1, _JOINED):
        context, questions = "", []
        for passage, asked in passages[first : first + _JOINED]:
            context += " " if context else ""
            for row in asked:
                pairs = zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True)
                answers = [{"text": text, "answer_start": start} for text, start in pairs]
                if answers:
                    moved = _moved(answers, len(context))
                    # It words its questions alike everywhere; SQuAD hardly asks one twice.
                    question = f"In part {len(paragraphs)}: {row['question']}"
                    questions.append({"id": row["id"], "question": question, "answers": moved})
            context += passage
        paragraphs.append(Paragraph(context, questions[:_ASKED]))
    return paragraphs

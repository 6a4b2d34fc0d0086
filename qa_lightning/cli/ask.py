"""``ask "Who …?"``: a model's answers to questions about a text, or a folder of texts, each in its sentence."""

from __future__ import annotations

import json
import re
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qa_lightning.cli.arguments import VerbParser
from qa_lightning.cli.file_progress import reading
from qa_lightning.cli.reader_flags import add_reader_flags, load_reader, warnings_in_lines
from qa_lightning.reader.text_folder import TextFolder, decode_text, read_text
from qa_lightning.records import AnswerDict
from qa_lightning.utils.bounds import check_between
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.extras import require
from qa_lightning.utils.sentences import excerpt
from qa_lightning.utils.terminal import plain_text, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

STANDARD_INPUT = "-"
MOST_OTHERS = 3
"""How many other files an answer stands in are named."""


def run(arguments: list[str]) -> None:
    """Prints the answers to the questions that the arguments ask.

    Raises:
        UserError: The text or the model cannot be read, or a question or a setting cannot be.
    """
    parser = VerbParser("ask", "Answers questions about a text, or a folder of texts, and shows each in its sentence.")
    parser.add_argument("questions", metavar="QUESTION", nargs="+", help="what to ask")
    parser.add_argument(
        "--context",
        required=True,
        metavar="FILE",
        help="the text, in UTF-8; - reads it from standard input; of a folder, all text files are read",
    )
    parser.add_argument(
        "--retrieve",
        type=int,
        metavar="N",
        help="read only the N paragraphs that BM25 ranks first for a question (needs the extra retrieval)",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print what a Reader returns, and the question, as one JSON object a line; start and end count characters",
    )
    add_reader_flags(parser)
    options = parser.parse_args(arguments)
    if options.retrieve is not None:
        check_between("--retrieve", options.retrieve, 1)
        require("bm25s", "retrieval")
    folder = options.context != STANDARD_INPUT and Path(options.context).is_dir()
    if folder or options.retrieve is not None:
        texts: Mapping[str, str] = (
            TextFolder(options.context) if folder else {options.context: read_context(options.context)}
        )
        with warnings_in_lines():
            answers = _ask_texts(options, texts)
        context_of: Callable[[AnswerDict], str] = lambda answer: texts[answer["document"]]  # noqa: E731
    else:
        context = read_context(options.context)
        with warnings_in_lines():
            answers = load_reader(options)(question=options.questions, context=context)
        context_of = lambda _: context  # noqa: E731
    if options.json:
        for question, found in zip(options.questions, answers, strict=True):
            listed = {"answers": found} if isinstance(found, list) else found
            print(json.dumps({"question": question} | listed))
    else:
        from rich.console import Console

        listed = [found if isinstance(found, list) else [found] for found in answers]
        show(Console(highlight=False), options.questions, listed, context_of)


def _ask_texts(options: Namespace, texts: Mapping[str, str]) -> list[Any]:
    """The answers to the questions from texts by name."""
    reader = load_reader(options)
    if options.retrieve is None:
        with reading(texts, reader.document_passes) as watched:
            return reader(question=options.questions, contexts=watched)
    from qa_lightning.reader.retrieval import ParagraphIndex

    with reading(texts) as watched:
        index = ParagraphIndex(watched)
    return [index.ask(reader, question, options.retrieve) for question in options.questions]


def read_context(file: str) -> str:
    """Reads the text of a file, or of standard input.

    Raises:
        UserError: It cannot be read, is not UTF-8, or is empty.
    """
    name = "standard input" if file == STANDARD_INPUT else file
    try:
        text = decode_text(sys.stdin.buffer.read(), name) if file == STANDARD_INPUT else read_text(file)
    except AttributeError:
        raise UserError(f"{name}: closed; give a file, or a text through a pipe") from None
    except OSError as error:
        raise UserError(f"{name}: cannot be read: {error.strerror or error}") from error
    if not text.strip():
        raise UserError(f"{name}: empty; give a text that answers can be cut from")
    return text


def show(
    console: Console,
    questions: Sequence[str],
    answers: Sequence[Sequence[AnswerDict]],
    context_of: Callable[[AnswerDict], str],
) -> None:
    """Prints the answers to each question, best first: the score, the file where there are several, and the sentence.

    Where there are several questions, each stands above its answers. A terminal shows answers bold and reversed;
    elsewhere they stand between asterisks, and each on a line of its own.

    Args:
        console: Where to print.
        questions: The questions.
        answers: What a Reader returned for each.
        context_of: Gives the text that an answer, which is not null, was cut from.
    """
    from rich.table import Table
    from rich.text import Text

    styled = console.color_system is not None
    for question, found in zip(questions, answers, strict=True):
        if len(questions) > 1:
            console.print(plain_text(question, style="bold"), soft_wrap=True)
        table = Table.grid(padding=(0, 2))
        for answer in found:
            score, sentence = f"{answer['score']:.3f}", in_sentence(answer, context_of, styled)
            file = [printable(answer["document"])] if answer.get("document") else []
            sentence.append(_others(answer), style="dim")
            if styled:
                table.add_row(Text(score, style="dim"), *file, sentence)
            else:
                console.print(Text("  ".join([score, *file, ""])).append(sentence), soft_wrap=True)
        if styled:
            console.print(table)


def _others(answer: AnswerDict) -> str:
    """The other files that an answer stands in."""
    documents = dict.fromkeys(place["document"] for place in answer.get("places", ()))
    others = [printable(name) for name in documents if name != answer["document"]]
    if not others:
        return ""
    more = f" and {len(others) - MOST_OTHERS:,} more" if len(others) > MOST_OTHERS else ""
    return f"  (also in {', '.join(others[:MOST_OTHERS])}{more})"


def in_sentence(answer: AnswerDict, context_of: Callable[[AnswerDict], str], styled: bool) -> Text:
    """Marks an answer in its sentence.

    Args:
        answer: What a Reader returned.
        context_of: Gives what it was cut from.
        styled: Whether to mark it by style, rather than by asterisks.
    """
    from rich.text import Text

    if not answer["answer"]:
        where = "these texts" if "document" in answer else "this text"
        return Text(f"no answer in {where}", style="italic")
    before, words, after = map(_on_one_line, excerpt(context_of(answer), answer["start"], answer["end"]))
    if styled:
        return Text.assemble(before, (words, "bold reverse"), after)
    return Text(f"{before}**{words}**{after}")


def _on_one_line(text: str) -> str:
    return printable(re.sub(r"\s+", " ", text))

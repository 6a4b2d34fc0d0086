"""``ask "Who …?"``: a model's answers to questions about a text, each in its sentence."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qa_lightning.cli.arguments import VerbParser
from qa_lightning.cli.reader_flags import add_reader_flags, load_reader, warnings_in_lines
from qa_lightning.records import AnswerDict
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.sentences import excerpt
from qa_lightning.utils.terminal import plain_text, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

STANDARD_INPUT = "-"


def run(arguments: list[str]) -> None:
    """Prints the answers to the questions that the arguments ask.

    Raises:
        UserError: The text or the model cannot be read, or a question or a setting cannot be.
    """
    parser = VerbParser("ask", "Answers questions about a text, and shows each answer in its sentence.")
    parser.add_argument("questions", metavar="QUESTION", nargs="+", help="what to ask")
    parser.add_argument(
        "--context", required=True, metavar="FILE", help="the text, in UTF-8; - reads it from standard input"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print what a Reader returns, and the question, as one JSON object a line; start and end count characters",
    )
    add_reader_flags(parser)
    options = parser.parse_args(arguments)
    context = read_text(options.context)
    with warnings_in_lines():
        answers = load_reader(options)(question=options.questions, context=context)
    if options.json:
        for question, found in zip(options.questions, answers, strict=True):
            listed = {"answers": found} if isinstance(found, list) else found
            print(json.dumps({"question": question} | listed))
    else:
        from rich.console import Console

        listed = [found if isinstance(found, list) else [found] for found in answers]
        show(Console(highlight=False), options.questions, listed, context)


def read_text(file: str) -> str:
    """Reads the text of a file, or of standard input.

    Raises:
        UserError: It cannot be read, is not UTF-8, or is empty.
    """
    name = "standard input" if file == STANDARD_INPUT else file
    try:
        read = sys.stdin.buffer.read() if file == STANDARD_INPUT else Path(file).read_bytes()
        text = read.decode("utf-8-sig")
    except AttributeError:
        raise UserError(f"{name}: closed; give a file, or a text through a pipe") from None
    except FileNotFoundError:
        raise UserError(f"{name}: no such file") from None
    except OSError as error:
        raise UserError(f"{name}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
    if not text.strip():
        raise UserError(f"{name}: empty; give a text that answers can be cut from")
    return text


def show(console: Console, questions: Sequence[str], answers: Sequence[Sequence[AnswerDict]], context: str) -> None:
    """Prints the answers to each question, best first: the score, and the answer in its sentence.

    Where there are several questions, each stands above its answers. A terminal shows answers bold and reversed;
    elsewhere they stand between asterisks, and each on a line of its own.
    """
    from rich.table import Table
    from rich.text import Text

    styled = console.color_system is not None
    for question, found in zip(questions, answers, strict=True):
        if len(questions) > 1:
            console.print(plain_text(question, style="bold"), soft_wrap=True)
        table = Table.grid(padding=(0, 2))
        for answer in found:
            score, sentence = f"{answer['score']:.3f}", in_sentence(answer, context, styled)
            if styled:
                table.add_row(Text(score, style="dim"), sentence)
            else:
                console.print(Text(f"{score}  ").append(sentence), soft_wrap=True)
        if styled:
            console.print(table)


def in_sentence(answer: AnswerDict, context: str, styled: bool) -> Text:
    """Marks an answer in its sentence.

    Args:
        answer: What a Reader returned.
        context: What it was cut from.
        styled: Whether to mark it by style, rather than by asterisks.
    """
    from rich.text import Text

    if not answer["answer"]:
        return Text("no answer in this text", style="italic")
    before, words, after = map(_on_one_line, excerpt(context, answer["start"], answer["end"]))
    if styled:
        return Text.assemble(before, (words, "bold reverse"), after)
    return Text(f"{before}**{words}**{after}")


def _on_one_line(text: str) -> str:
    return printable(re.sub(r"\s+", " ", text))

"""Reads plain text files, and divides them into documents."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from qa_lightning.data.textfiles import read_text
from qa_lightning.utils.errors import UserError

Documents = Literal["file", "line", "blank_line"]
"""What a document is: a whole file, a line of it, or what stands between blank lines."""

SUFFIXES = (".txt", ".txt.gz")
"""How the names of the text files in a folder end; a file that is named itself may be called anything."""

_PARTS = {"file": re.compile(r"\A.*\Z", re.DOTALL), "line": re.compile(r".+")}
_PARTS["blank_line"] = re.compile(r"(?:.*\S.*(?:\n|\Z))+")


@dataclass(frozen=True)
class Corpus:
    """Documents of plain text.

    Attributes:
        texts: Their texts, none of which is empty.
        names: Where each of them is: its file and, where a file holds several, the line that it begins in.
    """

    texts: list[str]
    names: list[str]


def read_corpus(files: str | list[str], documents: Documents, encoding: str | None, setting: str) -> Corpus:
    """Reads the documents of text files, and of those in folders.

    Args:
        files: Files, compressed by gzip or not, and folders.
        documents: What a document is.
        encoding: Their encoding; None: UTF-8, unless a file's first bytes show another.
        setting: The setting that names them, in messages.

    Raises:
        UserError: Where a file cannot be read, is not text (with the line), or holds nothing.
    """
    texts: list[str] = []
    names: list[str] = []
    for path in _text_files([files] if isinstance(files, str) else files, setting):
        before = len(texts)
        for line, text in _split(_read(path, encoding), documents):
            texts.append(text)
            names.append(str(path) if documents == "file" else f"{path}:{line}")
        if len(texts) == before:
            raise UserError(f"{path}: there is no text in it; leave it out of {setting}")
    return Corpus(texts, names)


def _text_files(names: Iterable[str], setting: str) -> Iterator[Path]:
    """The files that are named, and those of folders that are, by their paths."""
    for path in map(Path, names):
        if not path.is_dir():
            yield path
            continue
        found = sorted(file for file in path.rglob("*.txt*") if file.name.endswith(SUFFIXES) and file.is_file())
        if not found:
            raise UserError(f"{setting}: there is no file {' or '.join(f'*{end}' for end in SUFFIXES)} in {path}")
        yield from found


def _read(path: Path, encoding: str | None) -> str:
    """The text of a file, whose lines end by a line feed alone."""
    try:
        text = read_text(path, encoding)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UserError as error:
        cause = error.__cause__
        if not isinstance(cause, UnicodeDecodeError):
            raise
        line = cause.object[: cause.start].count(b"\n") + 1
        raise UserError(f"{path}, line {line:,}{str(error).removeprefix(str(path))}") from cause
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _split(text: str, documents: Documents) -> Iterator[tuple[int, str]]:
    """The documents of a text, with the number of the line that each begins in; those of white space are left out."""
    line, place = 1, 0
    for part in _PARTS[documents].finditer(text):
        if part[0].strip():
            line, place = line + text.count("\n", place, part.start()), part.start()
            yield line, part[0].strip()

"""Reads text files as people have them: compressed or not, in any encoding, with any delimiter."""

from __future__ import annotations

import csv
import gzip
import json
import re
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from qa_lightning.utils.errors import UserError

GZIP = b"\x1f\x8b"
"""The first bytes of a gzip file, whatever its name."""

DELIMITERS = (",", ";", "\t", "|")
"""The delimiters that are tried for a table whose delimiter is not given."""


_SEP_LINE = re.compile(r'"?sep=([ -~\t])"?\r?\n')


@dataclass(frozen=True)
class CSVFormat:
    """The format of CSV and TSV files.

    Args:
        delimiter: The character between two columns; default: a comma, a tab in TSV files, or whichever of comma,
            semicolon, tab and ``|`` parts the columns that are wanted in the file's first line.
    """

    delimiter: str | None = None


@dataclass(frozen=True, slots=True)
class TextFormat:
    """The format of text files, as far as the user gives it.

    Args:
        encoding: Their encoding; None: UTF-8. A file whose first bytes show that it is UTF-8, UTF-16 or UTF-32 is
            read as that in any case.
        delimiter: What parts the columns of CSV and TSV files; None: it is detected.

    Raises:
        UserError: Where there is no such encoding, or where a delimiter cannot be one.
    """

    encoding: str | None = None
    delimiter: str | None = None

    def __post_init__(self) -> None:
        try:
            " ".encode(self.encoding or "utf-8")
        except (LookupError, ValueError) as error:
            raise UserError(
                f"encoding: Python has no text encoding {self.encoding!r:.40}; usual ones are utf-8, utf-16, cp1252, "
                "latin-1, shift_jis and gb18030"
            ) from error
        if self.delimiter == r"\t":  # as a shell passes it
            object.__setattr__(self, "delimiter", "\t")
        delimiter = self.delimiter
        if delimiter is not None and (len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n\0'):
            raise UserError(f"csv.delimiter must be one ASCII character such as ';' or a tab, not {delimiter!r:.40}")


def read_text(path: Path, encoding: str | None) -> str:
    """Reads a file's text without a byte order mark, decompressed if it is a gzip file.

    Args:
        path: The file.
        encoding: Its encoding; None: UTF-8, unless its first bytes show another.

    Raises:
        OSError: Where it cannot be read.
        UserError: Where it cannot be unpacked, or is not in that encoding.
    """
    content = path.read_bytes()
    if content.startswith(GZIP):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{path}: a damaged gzip file: {error}") from error
    # The byte order mark, or the zeros among the first bytes: no text begins with such as anything else.
    shown = json.detect_encoding(content[:4])
    try:
        return content.decode(shown if shown != "utf-8" else encoding or "utf-8")
    except UnicodeDecodeError as error:
        if encoding is None:
            wrong = f"not {_display_encoding(error.encoding)} at byte {error.start}; save the file as UTF-8"
            raise UserError(f"{path}: {wrong}, or name its encoding, such as `encoding: cp1252`") from error
        wrong = f"not {_display_encoding(error.encoding)} at byte {error.start}"
        raise UserError(f"{path}: {wrong}; name the file's own `encoding`, or save it as UTF-8") from error


def _display_encoding(encoding: str) -> str:
    return {"utf-8": "UTF-8", "utf-8-sig": "UTF-8"}.get(encoding, encoding)


def split_sep_line(text: str) -> tuple[str | None, str]:
    """Splits off a first line ``sep=;``, as Excel reads it: the delimiter, or None, and the text behind that line."""
    line = _SEP_LINE.match(text)
    return (line[1], text[line.end() :]) if line else (None, text)


def find_delimiter(text: str, wanted: Collection[str], usual: str) -> str:
    """Finds the delimiter of a table.

    Args:
        text: The table.
        wanted: Names of columns that its first line must hold.
        usual: The delimiter that is tried first. Where none gives these columns, it is returned if it parts the line at
            all, or else the one that parts it most: the columns that are there can then be named to the user.
    """
    head = text[: text.find("\n")] if "\n" in text else text
    parts: dict[str, int] = {}
    for delimiter in dict.fromkeys((usual, *DELIMITERS)):
        try:
            names = next(csv.reader([head.rstrip("\r")], delimiter=delimiter), [])
        except csv.Error:
            continue
        if set(wanted) <= set(names):
            return delimiter
        parts[delimiter] = len(names)
    return usual if parts.get(usual, 0) > 1 or not parts else max(parts, key=parts.__getitem__)

"""The text files of a folder, read one at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from qa_lightning.utils.errors import UserError

SUFFIXES = (".txt", ".text", ".md", ".rst")
"""How the name of a text file ends, in upper or lower case."""


class TextFolder(Mapping[str, str]):
    """The texts of a folder and the folders in it, by their names in it; each is read when it is asked for.

    What is hidden, empty, or ends otherwise than `SUFFIXES` is left out. All files are read once to begin with, so that
    one that cannot be read is known before anything is asked.

    Args:
        folder: The folder.

    Raises:
        UserError: Where there is no text in it, or a file cannot be read, or it or its name is not UTF-8.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        found = sorted(_text_files(self.folder))
        if not found:
            raise UserError(f"{folder}: no text files; a text is a file whose name ends in {', '.join(SUFFIXES)}")
        self.names = [name for name in found if self[name].strip()]
        if not self.names:
            files = "the only text file is" if len(found) == 1 else f"all {len(found):,} text files are"
            raise UserError(f"{folder}: {files} empty; give texts that answers can be cut from")

    def __getitem__(self, name: str) -> str:
        return read_text(self.folder / name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def read_text(file: str | Path) -> str:
    """Reads a file of text.

    Raises:
        UserError: It cannot be read, or is not UTF-8.
    """
    try:
        return decode_text(Path(file).read_bytes(), str(file))
    except FileNotFoundError:
        raise UserError(f"{file}: no such file") from None
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror or error}") from error


def decode_text(content: bytes, name: str) -> str:
    """Decodes UTF-8, with or without a mark in front.

    Args:
        content: What was read.
        name: What it was read from.

    Raises:
        UserError: It is not UTF-8.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: not UTF-8 at byte {error.start}; save it as UTF-8") from None


def _text_files(folder: Path) -> Iterator[str]:
    """The names of the text files of a folder, in any order."""

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename or folder}: cannot be read: {error.strerror or error}") from error

    for where, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = Path(where, name)
            if not name.startswith(".") and path.suffix.lower() in SUFFIXES and path.is_file():
                yield _checked_name(path.relative_to(folder).as_posix(), folder)


def _checked_name(name: str, folder: Path) -> str:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise UserError(f"{folder}: the name of the file {name!a} is not UTF-8; rename it") from None
    return name

"""Files and folders that are there whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from qa_lightning.errors import UserError


def write_json(path: Path, value: Any) -> None:
    """Writes JSON to a file, whole or not at all."""
    with whole_file(path) as unfinished, unfinished.open("w", encoding="utf-8") as stream:
        json.dump(value, stream, indent=2, ensure_ascii=False)
        stream.write("\n")


def write_entries(path: Path, entries: Iterable[tuple[str, Any]]) -> None:
    """Writes a JSON object to a file, whole or not at all: entry by entry, each on a line of its own.

    Args:
        path: The file.
        entries: Keys, which differ, and values. Only one of them is held at a time.
    """
    encode = json.JSONEncoder(ensure_ascii=False).encode
    with whole_file(path) as unfinished, unfinished.open("w", encoding="utf-8") as stream:
        before = "{"
        for key, value in entries:
            stream.write(f"{before}\n  {encode(key)}: {encode(value)}")
            before = ","
        stream.write("\n}\n" if before == "," else "{}\n")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A file to write to, beside ``path``, which takes its place when the block ends without an error.

    Raises:
        UserError: Where it cannot be written.
    """
    unfinished = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        os.close(handle)
        unfinished = Path(name)
        yield unfinished
        _open_to_readers(name)
        unfinished.replace(path)
    except BaseException as error:
        if unfinished is not None:
            unfinished.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error
        raise


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """Gives a file a second name, whole or not at all: a hard link, or a copy where there can be none.

    Both names hold the same bytes until one of them is replaced; a file that is written in place changes under both.

    Args:
        source: The file.
        target: The other name; a file of that name is replaced.

    Raises:
        UserError: Where it cannot be written.
    """
    target = Path(target)
    if target.exists() and target.samefile(source):
        return
    with whole_file(target) as unfinished:
        unfinished.unlink()
        try:
            unfinished.hardlink_to(source)
        except OSError:  # other file systems between them, or one that knows no links
            shutil.copyfile(source, unfinished)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to write into, which takes the place of ``path`` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    workshop = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    new, old = workshop / "new", workshop / "old"
    new.mkdir()
    try:
        yield new
        for file in new.rglob("*"):
            if file.is_file():
                _open_to_readers(file)
        if path.is_dir():
            path.rename(old)
        new.rename(path)
    finally:
        if old.is_dir() and not path.is_dir():
            old.rename(path)  # interrupted between the two
        shutil.rmtree(workshop, ignore_errors=True)


def _open_to_readers(file: str | Path) -> None:
    """Gives a file that may have been made private the permissions that a new one would have."""
    umask = os.umask(0)
    os.umask(umask)
    os.chmod(file, 0o666 & ~umask)

"""Columns of numbers kept in a folder: written whole or not at all, and read only as they were written.

Many processes may read and write the same entries at once, and each of them may be killed at any moment.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import uuid
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

EntryColumns = Mapping[str, NDArray[Any]]
"""Columns by name."""

ColumnTypes = Mapping[str, np.dtype[Any]]
"""The type of a value of each column."""

CHECKSUMS = "checksums.json"
"""The file of an entry that says how each of its columns was written."""

_UNFINISHED = "unfinished-"

_TRIES = 2
"""How often an entry is written at most, if it is damaged again by another process or the disk."""


class DamagedEntryError(Exception):
    """An entry is not as it was written."""


def kept_columns(
    folder: Path | None, name: str, types: ColumnTypes, make: Callable[[], Iterable[EntryColumns]], what: str
) -> dict[str, NDArray[Any]]:
    """Reads columns from their entry in a folder, which is made first where there is none or a damaged one.

    Where it cannot be kept, memory holds them.

    Args:
        folder: The folder of entries; None: in memory only.
        name: The entry's name.
        types: Its columns.
        make: Computes them, some values at a time.
        what: What they are, in messages.
    """
    columns = None if folder is None else _read_or_write(folder, name, types, make, what)
    if columns is None:
        parts = list(make())
        columns = {
            column: np.concatenate([np.empty(0, types[column]), *(part[column] for part in parts)]) for column in types
        }
    return columns


def _read_or_write(
    folder: Path, name: str, types: ColumnTypes, make: Callable[[], Iterable[EntryColumns]], what: str
) -> dict[str, NDArray[Any]] | None:
    """The columns from their entry; None where they cannot be kept there."""
    entry = folder / name
    remove_leftovers(folder)
    try:
        for _ in range(_TRIES):
            try:
                return read_entry(entry, types)
            except FileNotFoundError:
                pass
            except DamagedEntryError as error:
                _log_once(f"{error}; it is made anew")
                discard_entry(entry)
            write_entry(entry, types, make())
        return read_entry(entry, types)
    except (OSError, DamagedEntryError) as error:
        reason = getattr(error, "strerror", None) or error
        _log_once(f"{folder}: {what} cannot be kept there ({reason}); this run holds them in memory")
        return None


@cache
def _log_once(line: str) -> None:
    """Logs a line once, on the first of several processes."""
    from lightning.pytorch.utilities import rank_zero_info

    rank_zero_info(line)


def read_entry(entry: Path, types: ColumnTypes) -> dict[str, NDArray[Any]]:
    """Memory-maps the columns of an entry.

    Args:
        entry: Its folder.
        types: Its columns.

    Raises:
        FileNotFoundError: There is no such entry.
        DamagedEntryError: It is not as it was written: a file is missing, or holds other bytes.
    """
    if not entry.is_dir():
        raise FileNotFoundError(entry)
    try:
        written = json.loads((entry / CHECKSUMS).read_text(encoding="utf-8"))
        columns = {name: _memory_map(entry / name, dtype) for name, dtype in types.items()}
    except (OSError, ValueError) as error:
        raise DamagedEntryError(f"{entry}: {error}") from error
    if written != {name: zlib.crc32(column.data) for name, column in columns.items()}:
        raise DamagedEntryError(f"{entry}: holds other bytes than were written")
    return columns


def write_entry(entry: Path, types: ColumnTypes, chunks: Iterable[EntryColumns]) -> None:
    """Writes columns as they come, the values of a chunk behind those of the one before.

    They are written under a name of their own, which is then changed; where another process was faster, its entry
    stays.

    Args:
        entry: The folder that is made.
        types: Its columns.
        chunks: The values.

    Raises:
        OSError: Where it cannot be written; nothing is left of it then.
    """
    checksums = dict.fromkeys(types, 0)
    with ExitStack() as stack:
        unfinished = _make_unfinished_folder(entry.parent, stack)
        with ExitStack() as files:
            opened = {name: files.enter_context((unfinished / name).open("wb")) for name in types}
            for chunk in chunks:
                for name, file in opened.items():
                    file.write(chunk[name].data)
                    checksums[name] = zlib.crc32(chunk[name].data, checksums[name])
        (unfinished / CHECKSUMS).write_text(json.dumps(checksums), encoding="utf-8")
        try:
            unfinished.rename(entry)
        except OSError:
            if not entry.is_dir():
                raise


def discard_entry(entry: Path) -> None:
    """Removes an entry. Whoever has it mapped can go on reading it.

    Raises:
        OSError: Where it cannot be removed.
    """
    with ExitStack() as stack, suppress(FileNotFoundError):
        # In one step, so that nobody finds half of it.
        entry.rename(_make_unfinished_folder(entry.parent, stack) / entry.name)


def remove_leftovers(folder: Path) -> None:
    """Removes what processes that were killed have left unfinished in a folder of entries."""
    with suppress(OSError):
        for left in folder.glob(f"{_UNFINISHED}*"):
            with ExitStack() as stack, suppress(OSError):
                # The lock of a process goes with it.
                fcntl.flock(_open_folder(left, stack), fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)


def _make_unfinished_folder(folder: Path, stack: ExitStack) -> Path:
    """Makes a folder for unfinished files, which is locked, and removed when the stack is closed."""
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        unfinished = folder / f"{_UNFINISHED}{uuid.uuid4().hex}"
        unfinished.mkdir()
        stack.callback(shutil.rmtree, unfinished, ignore_errors=True)
        with suppress(FileNotFoundError):
            descriptor = _open_folder(unfinished, stack)
            with suppress(OSError):  # a file system without locks, where leftovers stay
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Before it was locked, another process may have taken it for a leftover.
            if os.path.samestat(os.fstat(descriptor), unfinished.stat()):
                return unfinished


def _open_folder(folder: Path, stack: ExitStack) -> int:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    stack.callback(os.close, descriptor)
    return descriptor


def _memory_map(file: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    """A file of raw values; ValueError where its size is not that of whole ones."""
    values, rest = divmod(file.stat().st_size, dtype.itemsize)
    if rest:
        raise ValueError(f"{file.name} is not made of whole values")
    # Copied on a write, of which there is none: torch warns of arrays that cannot be written to.
    return np.memmap(file, dtype, "c", shape=(values,)) if values else np.zeros(0, dtype)

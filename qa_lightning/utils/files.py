"""Writes files and folders whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from qa_lightning.utils.errors import UserError

T = TypeVar("T")

_UNFINISHED = re.compile(r"\.(best_model|.+\.(json|parquet|yaml|ckpt))-[a-z0-9_]{8}")
"""Names of what `whole_file` and `whole_folder` write to, for the files and folders of a run."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_ERROR_IN_RUST = re.compile(r"\(os error (\d+)\)")


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
def whole_file(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Opens a temporary file beside ``path``, which replaces it when the block ends without an error.

    Args:
        path: The file.
        durable: Waits until the file is on the disk, so that a machine that stops has the old one or the new one.

    Raises:
        UserError: Where it cannot be written.
    """
    unfinished = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        unfinished = Path(name)
        os.close(handle)
        yield unfinished
        _open_to_readers(name)
        if durable:
            _flush(unfinished)
        unfinished.replace(path)
        if durable:
            _flush(path.parent)
    except BaseException as error:
        if unfinished is not None:
            unfinished.unlink(missing_ok=True)
        raise_if_not_written(path, error)
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
    """Makes a temporary folder beside ``path``, which replaces it when the block ends without an error.

    It is on the disk when the old one goes.

    Raises:
        UserError: Where it cannot be written.
    """
    workshop = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        workshop = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        new = workshop / "new"
        new.mkdir()
        yield new
        for file in new.rglob("*"):
            if file.is_file():
                _open_to_readers(file)
                _flush(file)
        _flush(new)
        if path.is_dir():
            path.rename(workshop / "old")
        new.rename(path)
        _flush(path.parent)
    except BaseException as error:
        raise_if_not_written(path, error)
        raise
    finally:
        if workshop is not None:
            if (workshop / "old").is_dir() and not path.is_dir():
                (workshop / "old").rename(path)  # interrupted between the two
            shutil.rmtree(workshop, ignore_errors=True)


def check_can_be_folder(path: Path) -> None:
    """Checks that a folder is there, or could be made; long work would otherwise end where its results are written.

    Raises:
        UserError: Where it, or what it is to be in, is something else.
    """
    there = next((place for place in (path, *path.parents) if os.path.lexists(place)), None)
    if there is not None and not os.path.isdir(there):
        raise UserError(f"{there} is no folder, where results are to be written; name another place, or move it away")


def in_scratch_folder(work: Callable[[Path], T]) -> T:
    """Calls a function with an empty folder, which is removed afterwards, and returns what it returns.

    It is where temporary files go; where they cannot, since that disk is full, it is another disk.
    """
    places = [None, *(place for place in ("/dev/shm", os.getcwd()) if os.path.isdir(place))]  # noqa: S108
    for place in places:
        try:
            with tempfile.TemporaryDirectory(dir=place) as folder:
                return work(Path(folder))
        except Exception as error:
            if place == places[-1] or not any(
                isinstance(cause, OSError) or _in_rust(cause) for cause in _causes(error)
            ):
                raise
    raise AssertionError("the last place returns or raises")


def remove_unfinished(folder: Path) -> None:
    """Removes what a killed process left half-written in a folder of a run; nobody may be writing there.

    Where it was killed in the moment between taking the old folder away and putting the new one in its place, the
    new one, which is whole, takes it.
    """
    for path in [path for path in folder.glob(".*") if _UNFINISHED.fullmatch(path.name)]:
        if not path.is_dir():
            path.unlink(missing_ok=True)
            continue
        target = folder / path.name[1 : path.name.rindex("-")]
        if (path / "old").is_dir() and (path / "new").is_dir() and not target.exists():
            (path / "new").rename(target)
        shutil.rmtree(path, ignore_errors=True)


def raise_if_not_written(path: Path | str, error: BaseException) -> None:
    """Raises a one-line `UserError` where an error means that ``path`` could not be written.

    Libraries wrap what the system says: that there was no room counts also where it led to this error.
    """
    if isinstance(error, UserError) or not isinstance(error, Exception):
        return
    for cause in _causes(error):
        if isinstance(cause, OSError) and (cause is error or cause.errno in _NO_ROOM):
            raise UserError(f"{path}: cannot be written: {cause.strerror or cause}") from error
        if _in_rust(cause):
            raise UserError(f"{path}: cannot be written: {os.strerror(_in_rust(cause))}") from error


def full_disk(error: BaseException) -> str | None:
    """Describes in a line the file for which there was no room, where that caused an error; None for any other."""
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.errno in _NO_ROOM:
            return f"{cause.filename or 'a file'}: cannot be written: {cause.strerror}"
    return None


def _in_rust(error: BaseException) -> int:
    """The system's number of what failed in a library written in Rust, which has it in its message; 0 for others."""
    found = None if isinstance(error, OSError) else _ERROR_IN_RUST.search(str(error))
    return int(found[1]) if found else 0


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and those in the handling of which it came."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def _flush(path: Path) -> None:
    """Waits until a file, or the names in a folder, are on the disk, where the system knows how to."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # some file systems do not for folders
            raise
    finally:
        os.close(handle)


def _open_to_readers(file: str | Path) -> None:
    """Gives a file that may have been made private the permissions that a new one would have."""
    # Asking the system for the umask would set it for a moment, in all threads: a new file shows it.
    probe = f"{file}.mode"
    handle = os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        mode = stat.S_IMODE(os.fstat(handle).st_mode)
    finally:
        os.close(handle)
        os.unlink(probe)
    os.chmod(file, mode)

"""Locks on folders, so that one process at a time writes to each."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qa_lightning.utils.errors import UserError

try:
    import fcntl
except ImportError:  # Windows has no such locks: there, nothing keeps two runs out of one folder
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"
"""The file in a folder that says that it is in use. One that is left over means nothing: the lock on it does."""

_held: set[int | None] = set()
"""The handles of the locks of this process."""

_UNKNOWN = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)


@contextmanager
def sole_user(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Locks a folder against other processes; the lock ends with the process, however that ends.

    The folder is made where there is none, and is gone afterwards if nothing was written into it.

    Args:
        folder: The folder.
        wait: Whether to wait for another process, in a folder that is there, rather than to refuse.

    Raises:
        UserError: Where another process is in the context, or the folder cannot be written to. Nothing was changed.
    """
    if fcntl is None:
        yield
        return
    is_new = not folder.is_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = _locked(folder / LOCK, wait)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written to: {error.strerror}") from error
    try:
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)
        _held.discard(handle)
        if handle is not None:
            os.close(handle)
        if is_new and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _locked(path: Path, wait: bool) -> int | None:
    """The handle of a file that this process has locked; None where the file system knows no locks."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            os.close(handle)
            if error.errno in _UNKNOWN:
                return None
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise UserError(
                    f"{path.parent}: another process is writing to this folder; wait for its end, or name another "
                    "folder"
                ) from None
            raise
        if _is_still_there(path, handle):
            _held.add(handle)
            return handle
        os.close(handle)  # who had it before removed it in the meantime


def _is_still_there(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _let_go() -> None:
    """Closes the locks that a forked process has inherited, such as a data loader's worker, which may live longer."""
    for handle in filter(None, _held):
        os.close(handle)
    _held.clear()


if fcntl is not None:
    os.register_at_fork(after_in_child=_let_go)

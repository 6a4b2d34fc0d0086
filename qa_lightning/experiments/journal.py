"""The journal of a sweep, a file of lines that several processes add to: its locks, and what a killed one left."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from qa_lightning.utils.errors import UserError
from qa_lightning.utils.locks import sole_user


class JournalLock:
    """A lock as Optuna's journal takes one, which ends with its process: Optuna's own outlive one that is killed.

    Args:
        folder: What is locked; it is made.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._held = ExitStack()

    def acquire(self) -> bool:
        """Waits until it is free, and takes it."""
        self._held.enter_context(sole_user(self._folder, wait=True))
        return True

    def release(self) -> None:
        """Gives it back."""
        self._held.close()


def drop_unfinished_line(path: Path, lock: JournalLock) -> None:
    """Removes the end of the journal that a process was killed in the middle of writing: nothing behind it is read."""
    if not path.is_file():
        return
    lock.acquire()
    try:
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with path.open("r+b") as stream:
                stream.truncate(whole)
    finally:
        lock.release()


def is_free(folder: Path) -> bool:
    """Whether no process has locked a folder."""
    try:
        with sole_user(folder):
            return True
    except UserError:
        return False

"""Uploads folders while something else goes on."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from qa_lightning.utils.errors import UserError


class BackgroundUploads:
    """Uploads folders in a thread, one at a time; of those that wait, the newest takes the others' place.

    A folder that was given away is removed once it was uploaded, could not be, or was replaced.

    Args:
        upload: Uploads a folder, or raises a `UserError`.
        failed: Is called with what an upload raised, in the thread, at the time.
    """

    def __init__(self, upload: Callable[[Path], None], failed: Callable[[UserError], None]) -> None:
        self._upload = upload
        self._failed = failed
        self._lock = threading.Lock()
        self._waiting: Path | None = None
        self._thread: threading.Thread | None = None
        self._error: UserError | None = None
        self._given_up = False

    @property
    def busy(self) -> bool:
        """Whether a folder is being uploaded."""
        return self._thread is not None

    def put(self, folder: Path) -> None:
        """Gives a folder away, to be uploaded as soon as the one before it is done."""
        with self._lock:
            replaced, self._waiting = self._waiting, folder
            if self._thread is None:
                # A daemon, since a process that is asked to end does not wait for the network.
                self._thread = threading.Thread(target=self._work, name="upload", daemon=True)
                self._thread.start()
        if replaced is not None:
            shutil.rmtree(replaced, ignore_errors=True)

    def wait(self) -> UserError | None:
        """Waits until everything is uploaded; what went wrong with the last folder, if something did."""
        thread = self._thread
        if thread is not None:
            thread.join()
        return self._error

    def give_up(self) -> None:
        """Begins no more uploads, and says nothing of the one that may be under way."""
        with self._lock:
            self._given_up, waiting, self._waiting = True, self._waiting, None
        if waiting is not None:
            shutil.rmtree(waiting, ignore_errors=True)

    def _work(self) -> None:
        while (folder := self._next()) is not None:
            try:
                self._upload(folder)
                self._error = None
            except UserError as error:
                self._error = error
                if not self._given_up:
                    self._failed(error)
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _next(self) -> Path | None:
        """The folder to upload now; where there is none, the thread ends."""
        with self._lock:
            folder, self._waiting = self._waiting, None
            if folder is None:
                self._thread = None
            return folder

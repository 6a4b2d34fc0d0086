"""A trial's process: started with its output in a file, stopped in a good moment, and gone when its starter is."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from qa_lightning.experiments.commands import error_of
from qa_lightning.utils.errors import UserError

_PATIENCE = 600.0
"""Seconds that a process may take to end after a SIGTERM: a validation ends first, and a checkpoint is written."""

_TAIL = 20_000
_DEATH_SIGNAL = 1
"""Linux' ``PR_SET_PDEATHSIG``: the signal that a process gets when the one that started it is gone."""


class TrialProcess:
    """A process in a session of its own, so that Ctrl-C reaches it through its starter alone.

    It gets a SIGTERM also where its starter is killed, as far as the system can do that.

    Args:
        command: Its command line.
        log: The file that its output is added to.
        environment: What its environment has besides this process'.

    Raises:
        UserError: Where there is no such program.
    """

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self.log = log
        self._stopped_at: float | None = None
        with log.open("ab") as output, warnings.catch_warnings():
            # Python 3.12 warns of what a forked process may do in the place of a program: it makes one system call.
            warnings.filterwarnings("ignore", ".*multi-threaded", DeprecationWarning)
            self._begin = output.tell()
            try:
                self._process = subprocess.Popen(  # noqa: S603 - the user's own command
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **environment},
                    start_new_session=True,
                    preexec_fn=_end_with_starter(),
                )
            except OSError as error:
                raise UserError(f"{command[0]}: cannot be started: {error.strerror}") from error

    def poll(self) -> int | None:
        """Its exit status, negative for a signal that ended it; None while it runs."""
        status = self._process.poll()
        if status is None and self._stopped_at is not None and time.monotonic() > self._stopped_at + _PATIENCE:
            self.kill()
        return status

    def stop(self) -> None:
        """Asks it to end: a training saves its state first."""
        if self._stopped_at is None and self._process.poll() is None:
            self._stopped_at = time.monotonic()
            self._process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Waits for its end, and returns its status."""
        while (status := self.poll()) is None:
            time.sleep(0.1)
        return status

    def kill(self) -> None:
        """Ends it, and all that it started, at once."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def error(self) -> str:
        """What it says of its failure in a line: its error, or else the last that it said."""
        with self.log.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(self._begin, size - _TAIL))
            return error_of(stream.read().decode(errors="replace"))


def _end_with_starter() -> Callable[[], None] | None:
    """What a process does before its program begins, so that it ends with its starter; None where there is no way."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_DEATH_SIGNAL, signal.SIGTERM)

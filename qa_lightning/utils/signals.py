"""Ctrl-C and SIGTERM: at once while nothing is being written, as an exception later, in a good moment of a training."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from os import _exit
from types import FrameType
from typing import Any, NoReturn

ENDING = (signal.SIGINT, signal.SIGTERM)
"""The signals that ask a process to end."""

REQUEUE = signal.SIGUSR1
"""The signal by which Slurm says that a job's time is nearly over, and at which Lightning requeues the job."""

BASE = 128
"""The exit status of a process that a signal ended is this plus the signal's number, as shells have it."""


def end_at_once() -> None:
    """From here on, these signals end the process without a word: there is nothing to tidy up.

    An exception would be printed, and what is being imported might catch it.
    """
    _set_all(_leave)


def end_by_exception(pass_on: Callable[[], None] | None = None) -> None:
    """From here on, Ctrl-C is a `KeyboardInterrupt` and SIGTERM a `SystemExit`, where they would end the process.

    Args:
        pass_on: What to do first.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        _set_all(_ignore, signal.SIGTERM)  # one is enough: a second would disturb the tidying up
        if pass_on is not None:
            pass_on()
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(BASE + number)

    if _leave in map(signal.getsignal, ENDING):
        _set_all(handle)


class DeferredSignals:
    """Notes signals, until the work asks for them: those that end a process, and the one that requeues a job of Slurm.

    Attributes:
        signal: The first one's number; None where there was none.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}
        self._say: str | None = None
        self._pass_on: Callable[[], None] = lambda: None

    def begin(self, pass_on: Callable[[], None], say: str | None) -> None:
        """From here on, signals are noted.

        Args:
            pass_on: What to do when the first one comes.
            say: What to print after Ctrl-C; pressed again, it is a `KeyboardInterrupt` at once.
        """
        self.signal = None
        self._pass_on, self._say = pass_on, say
        requeue = [REQUEUE] if callable(signal.getsignal(REQUEUE)) else []
        self._before = _set_all(self._note, *ENDING, *requeue)

    def requeue(self) -> None:
        """Does what the signal that requeues a job would have done, had it not been noted."""
        handler = self._before.get(REQUEUE)
        if handler is not None:
            handler(REQUEUE, None)

    def end(self) -> None:
        """Gives signals back the meaning that they had."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal is None:
            self.signal = number
            if number == signal.SIGINT and self._say is not None:
                os.write(2, f"\n{self._say}\n".encode())  # what print writes to may be in use at this moment
            self._pass_on()
        elif number == signal.SIGINT:
            raise KeyboardInterrupt


def _set_all(handler: Callable[[int, FrameType | None], None], *numbers: int) -> dict[int, Any]:
    """Sets handlers, but of signals that are ignored (as Ctrl-C is in the background), and returns the old ones."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    chosen = [number for number in numbers or ENDING if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    return {number: signal.signal(number, handler) for number in chosen}


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    _exit(BASE + number)


def _ignore(number: int, frame: FrameType | None) -> None:
    """Does nothing, but as a handler that other handlers can take the place of."""

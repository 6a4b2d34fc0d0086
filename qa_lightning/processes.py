"""The processes of a run: the main one, and those that it starts for more devices, which run the same command."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from os import _exit

from lightning.pytorch.utilities import rank_zero_only

_MAIN = "QA_LIGHTNING_MAIN_PROCESS"
"""Environment variable that has the main process's number, for those that it starts."""

_SECONDS = 1.0
"""How often a process that was started looks whether the main one is still there."""


def is_first() -> bool:
    """Whether this process is the first of its run, which writes the run's files."""
    return getattr(rank_zero_only, "rank", 0) == 0


def main_process() -> int | None:
    """The number of the process that started this one; None where this is not one that was started so."""
    number = os.environ.get(_MAIN)
    return None if number is None or is_first() else int(number)


def tell_main_process() -> None:
    """Sends a SIGTERM to the process that started this one, where it was started so: that ends all of them."""
    main = main_process()
    if main is not None:
        with suppress(ProcessLookupError):
            os.kill(main, signal.SIGTERM)


@contextmanager
def one_run() -> Iterator[None]:
    """A context in which processes that this one starts belong to the same run.

    They end with it, however it ends: they would wait for it, or go on to write into its folder.
    """
    main = main_process()
    if main is not None:
        threading.Thread(target=_end_with, args=(main,), daemon=True).start()
        yield
        return
    os.environ[_MAIN] = str(os.getpid())
    try:
        yield
    finally:
        del os.environ[_MAIN]


def _end_with(main: int) -> None:
    while os.getppid() == main:
        time.sleep(_SECONDS)
    _exit(1)

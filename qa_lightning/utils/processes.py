"""The processes of a run: the main one, and those that it starts for more devices, which run the same command."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from os import _exit
from typing import Any

_MAIN = "QA_LIGHTNING_MAIN_PROCESS"
"""Environment variable that has the main process's number, for those that it starts."""

STARTED_BY = "QA_LIGHTNING_STARTED_BY"
"""Environment variable that has the number of the process that started a run as one of an experiment."""

_SECONDS = 1.0
"""How often a process that was started looks whether the main one is still there."""


def is_first() -> bool:
    """Whether this process is the first of its run, which writes the run's files."""
    # Imported here: what starts trainings as processes need not wait for it.
    from lightning.pytorch.utilities import rank_zero_only

    return getattr(rank_zero_only, "rank", 0) == 0


def main_process() -> int | None:
    """The id of the process that started this one for another device; None in the main process."""
    number = os.environ.get(_MAIN)
    return None if number is None or is_first() else int(number)


def stop_main_process() -> None:
    """Sends a SIGTERM to the process that started this one, where it was started so: that ends all of them."""
    main = main_process()
    if main is not None:
        with suppress(ProcessLookupError):
            os.kill(main, signal.SIGTERM)


def lost_process(processes: Iterable[Any]) -> str | None:
    """Describes in a line the first process that failed, of those that this one started; None where all run.

    Args:
        processes: In the order of their ranks, from 1 on. One that is failing is waited for.
    """
    started = [(rank, process) for rank, process in enumerate(processes, 1) if isinstance(process, subprocess.Popen)]
    until = time.monotonic() + _SECONDS
    while started:
        for rank, process in started:
            if process.poll():
                how = f"was ended by signal {-process.returncode}" if process.returncode < 0 else "failed"
                return f"the run's process {rank} {how}; see what it said, and go on with --ckpt_path last"
        if time.monotonic() > until:
            break
        time.sleep(_SECONDS / 20)
    return None


@contextmanager
def one_run() -> Iterator[None]:
    """Ties the processes that this one starts to its run.

    They end with it, however it ends: they would wait for it, or go on to write into its folder. The run itself stops
    as by a SIGTERM when the experiment ends that started it.
    """
    main = main_process()
    if main is not None:
        threading.Thread(target=_end_with, args=(main,), daemon=True).start()
        yield
        return
    starter = os.environ.pop(STARTED_BY, None)  # not for the processes that this one starts
    if starter is not None:
        threading.Thread(target=_stop_with, args=(int(starter),), daemon=True).start()
    os.environ[_MAIN] = str(os.getpid())
    try:
        yield
    finally:
        del os.environ[_MAIN]


def _end_with(main: int) -> None:
    while os.getppid() == main:
        time.sleep(_SECONDS)
    _exit(1)


def _stop_with(starter: int) -> None:
    while os.getppid() == starter:
        time.sleep(_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)

"""Commands of this package as processes of their own: started, waited for, and stopped in a good moment."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import IO, Protocol

from qa_lightning.utils.processes import STARTED_BY
from qa_lightning.utils.terminal import one_line

_ERROR = re.compile(r"^(?:error: |[\w.]*(?:Error|Exception): )(.*)$", re.MULTILINE)


class Process(Protocol):
    """What is used of a process, as `subprocess.Popen` has it."""

    def wait(self, timeout: float | None = None) -> int: ...  # noqa: D102 - see above
    def send_signal(self, number: int, /) -> None: ...  # noqa: D102
    def kill(self) -> None: ...  # noqa: D102


def start(
    arguments: Sequence[str],
    output: IO[bytes],
    errors: IO[bytes] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Process:
    """Starts a command of this package as a process of its own, which ends when this one does.

    It is in a session of its own, so that Ctrl-C reaches it once, through this process.

    Args:
        arguments: The command line from the verb on.
        output: The file that it writes to.
        errors: The file that it writes errors to; None: the same.
        environment: What its environment has besides this process'.
    """
    return subprocess.Popen(  # noqa: S603 - these are this program's own arguments
        [sys.executable, "-m", "qa_lightning", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT if errors is None else errors,
        env={**os.environ, **(environment or {}), STARTED_BY: str(os.getpid())},
        start_new_session=True,
    )


def run_to_end(arguments: Sequence[str], output: IO[bytes], errors: IO[bytes] | None = None) -> int:
    """Runs a command of this package and returns its status; what ends this process ends it, too.

    Arguments are those of `start`.
    """
    process = start(arguments, output, errors)
    try:
        return process.wait()
    except BaseException as reason:
        stop([process], reason)
        raise


def stop(processes: Sequence[Process], reason: BaseException) -> list[int]:
    """Ends processes in a good moment, waits for them, and returns their statuses.

    Args:
        processes: The processes.
        reason: Why: Ctrl-C is passed on as such; everything else is a SIGTERM. At a second Ctrl-C, or the second since
            then, trainings end without saving.
    """
    number = signal.SIGINT if isinstance(reason, KeyboardInterrupt) else signal.SIGTERM
    for process in processes:
        process.send_signal(number)
    presses = 1 if number == signal.SIGINT else 0
    statuses = []
    for process in processes:
        while True:
            try:
                statuses.append(process.wait())
                break
            except KeyboardInterrupt:
                presses += 1
                for other in processes if presses > 1 else ():
                    other.send_signal(signal.SIGINT)
    return statuses


def error_of(text: str) -> str:
    """What a command that failed says of it in a line: its error, or else the last that it said."""
    found = _ERROR.findall(text)
    lines = [line for line in text.splitlines() if line.strip()]
    return one_line(found[-1] if found else lines[-1] if lines else "it said nothing")

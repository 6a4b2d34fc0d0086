"""Programs in processes of their own that need not import torch again, which takes seconds.

Each is forked from a fresh process in which nothing has run but the imports of `tests.preloaded`. It has its own
environment, folder, signals, output and status, as a program has that is started by its name. What a program imports,
and what happens meanwhile, is for real processes, as in ``tests/cli/test_start_up.py``.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO

from tests.conftest import ROOT

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["pytest", "tests.preloaded"])


def _close_later(stream: Connection) -> int:
    """A descriptor that is as good as the connection's, which is closed."""
    copy = os.dup(stream.fileno())
    stream.close()
    return copy


def _main(
    arguments: list[str], environment: dict[str, str], folder: str, streams: tuple[Connection, ...], session: bool
) -> None:
    """Makes this process look like one that Python has just begun, and runs the program."""
    for number, stream in enumerate(streams, 1):
        os.dup2(stream.fileno(), number)
        stream.close()
    if session:
        os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path[:0] = environment.get("PYTHONPATH", "").split(os.pathsep)
    multiprocessing.set_start_method(None, force=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    program, *rest = arguments
    try:
        if program == "-m":
            sys.argv = rest
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        elif program == "-c":
            sys.argv = ["-c", *rest[1:]]
            exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
        else:
            sys.argv = arguments
            runpy.run_path(program, run_name="__main__")
    finally:
        atexit._run_exitfuncs()


class Forked:
    """A process that runs, with what tests use of `subprocess.Popen`.

    Args:
        arguments: What would follow ``python`` on a command line.
        env: Its environment; None: this process'. Variables that torch, transformers and the like read when they are
            imported are those of this process.
        cwd: Its folder.
        stdout: A file to write to; None: `stdout` gives what it prints.
        start_new_session: Whether it leads a group of processes of its own.
    """

    def __init__(
        self,
        arguments: Sequence[object],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
        stdout: IO[bytes] | None = None,
        start_new_session: bool = False,
    ) -> None:
        self.args = list(map(str, arguments))
        self.stdout = self.stderr = None
        if stdout is None:
            (out, printed), (err, complaints) = (_context.Pipe(duplex=False) for _ in range(2))
            streams = (printed, complaints)
            self.stdout, self.stderr = (os.fdopen(_close_later(end), encoding="utf-8") for end in (out, err))
        else:
            streams = tuple(Connection(os.dup(stdout.fileno()), readable=False) for _ in range(2))
        environment = dict(os.environ if env is None else env)
        self._process = _context.Process(
            target=_main, args=(self.args, environment, str(cwd), streams, start_new_session)
        )
        self._process.start()
        for stream in streams:
            stream.close()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it prints from here on, and complains of, until its end."""
        with ThreadPoolExecutor(2) as pool:  # where one pipe is full, the other must not be waited for
            texts = [pool.submit(stream.read) for stream in (self.stdout, self.stderr) if stream is not None]
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()  # so that nobody waits for its output
                raise
            printed, complaints = (text.result() for text in texts)
        self._close()
        return printed, complaints

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        self._process.join()

    def _close(self) -> None:
        for stream in (self.stdout, self.stderr):
            if stream is not None:
                stream.close()


def run(
    arguments: Sequence[object], *, env: Mapping[str, str] | None = None, cwd: Path = ROOT, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end; takes what `Forked` does, and the seconds after which it is killed."""
    with Forked(arguments, env=env, cwd=cwd) as process:
        printed, complaints = process.communicate(timeout)
        return subprocess.CompletedProcess(process.args, process.wait(), printed, complaints)

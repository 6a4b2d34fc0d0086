"""Processes that are forked behave as those do that are started by their name."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import forked

PROGRAM = """
import atexit, multiprocessing, os, signal, sys
atexit.register(print, "the end")
print(__name__, sys.argv, os.getcwd(), sorted(os.environ), multiprocessing.get_start_method(), sys.stdin.read())
print([signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)])
print([name for name in sys.modules if name.startswith("qa_lightning")], os.getpid() == os.getsid(0))
print("oh", file=sys.stderr)
sys.exit(int(sys.argv[1]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("status", [0, 3])
def test_a_program_finds_what_it_would_find(tmp_path: Path, status: int) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = {"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)}
    for arguments in (["-c", PROGRAM], ["-m", "program"], [str(tmp_path / "program.py")]):
        real = subprocess.run(
            [sys.executable, *arguments, str(status)],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            check=False,
            capture_output=True,
            text=True,
        )
        found = forked.run([*arguments, status], cwd=tmp_path, env=environment)
        assert (found.returncode, found.stdout, found.stderr) == (status, real.stdout, real.stderr)


@pytest.mark.slow
def test_a_process_ends_by_a_signal_or_an_error() -> None:
    with forked.Forked(["-c", "import signal; print('up', flush=True); signal.pause()"]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == -signal.SIGTERM
    failed = forked.run(["-c", "raise ValueError('no')"])
    assert failed.returncode == 1
    assert "ValueError: no" in failed.stderr

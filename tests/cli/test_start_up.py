"""Ctrl-C and SIGTERM while a command starts: it ends at once, without a word."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow

SCRIPT = """
import signal, sys
number, module, *arguments = sys.argv[1:]
signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background may have it ignored
sys.argv = ["qa_lightning", *arguments]

class Finder:
    def find_spec(self, name, *_):
        if name == module:
            try:
                signal.raise_signal(int(number))
            except BaseException:
                pass  # as some libraries do while they are imported
        return None

sys.meta_path.insert(0, Finder())
from qa_lightning.cli.main import main
sys.exit(main())
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("qa_lightning.cli.lightning", ["fit"]),
        ("torch._C", ["fit"]),
        ("lightning.pytorch.callbacks", ["fit"]),
        ("qa_lightning.cli.ask", ["ask"]),
        ("torch", ["ask", "--model", "absent"]),
    ],
)
def test_a_signal_while_something_is_imported(number: int, status: int, module: str, arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(int(number)), module, *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (status, "", "")

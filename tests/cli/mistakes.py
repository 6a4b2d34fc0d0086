"""What a verb says to a mistake."""

from __future__ import annotations

import pytest

from qa_lightning.cli.main import main


def error_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a command line ends in, which prints nothing else and fails."""
    try:
        status = main(arguments)
    except SystemExit as stopped:
        status = int(stopped.code or 0)
    written = capsys.readouterr()
    assert status == 2
    assert written.out == ""
    assert written.err.startswith("error: ")
    assert written.err.count("\n") == 1
    return written.err

"""One process at a time writes to a folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Timer

import pytest

from qa_lightning.utils.errors import UserError
from qa_lightning.utils.locks import LOCK, sole_user
from tests.conftest import ROOT

HOLD = """
import sys, time
from pathlib import Path
from threading import Timer
from qa_lightning.utils.locks import sole_user
with sole_user(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    """Another process that has the folder to itself, until it is killed."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text("old")
    with holder(tmp_path) as process:
        try:
            there = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
            with pytest.raises(UserError, match="another process is writing to this folder"), sole_user(tmp_path):
                raise AssertionError("let in")
            assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == there
        finally:
            process.send_signal(signal.SIGKILL)
    assert (tmp_path / LOCK).is_file()  # left over, and means nothing
    with sole_user(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["data.json"]


def test_the_same_process_is_refused_too(tmp_path: Path) -> None:
    with sole_user(tmp_path):
        with pytest.raises(UserError, match="another process"), sole_user(tmp_path):
            raise AssertionError("let in")
        assert (tmp_path / LOCK).is_file()  # the one that was refused left it
    with sole_user(tmp_path):
        pass


@pytest.mark.filterwarnings("ignore:.*use of fork")
def test_a_forked_process_does_not_keep_the_folder(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with sole_user(tmp_path):
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)  # until the parent has seen that the folder is free
            os._exit(0)
    try:
        with sole_user(tmp_path):
            pass
    finally:
        os.close(reading)
        os.close(writing)
        os.waitpid(child, 0)


def test_a_folder_is_gone_again_where_nothing_was_written(tmp_path: Path) -> None:
    with sole_user(tmp_path / "deep" / "run"):
        assert (tmp_path / "deep" / "run").is_dir()
    assert not (tmp_path / "deep" / "run").exists()
    with sole_user(tmp_path / "run"):
        (tmp_path / "run" / "x").touch()
    assert os.listdir(tmp_path / "run") == ["x"]


def test_a_place_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file: cannot be written to: "), sole_user(tmp_path / "file"):
        raise AssertionError("let in")


def test_who_waits_gets_it_after_the_end_of_the_other(tmp_path: Path) -> None:
    (tmp_path / "data.json").touch()
    with holder(tmp_path) as process:
        Timer(0.3, process.kill).start()
        with sole_user(tmp_path, wait=True):
            assert process.wait(10) == -signal.SIGKILL
            with pytest.raises(UserError, match="another process"), sole_user(tmp_path):
                raise AssertionError("let in")

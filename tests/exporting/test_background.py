"""Uploads in a thread: one at a time, the newest first of those that wait, and nothing is lost in the end."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from qa_lightning.exporting.background import BackgroundUploads
from qa_lightning.utils.errors import UserError


class Uploads:
    """A place to upload to that is opened by hand."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.open = threading.Semaphore(0)
        self.done: list[str] = []
        self.at_once = 0
        self.most_at_once = 0
        self.broken: set[str] = set()
        self.failed: list[str] = []
        self.queue = BackgroundUploads(self.upload, lambda error: self.failed.append(str(error)))

    def upload(self, folder: Path) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.begun.release()
        assert self.open.acquire(timeout=60)
        self.at_once -= 1
        if folder.name in self.broken:
            raise UserError(f"no {folder.name}")
        self.done.append((folder / "file").read_text())


@pytest.fixture
def uploads() -> Uploads:
    return Uploads()


def folder(path: Path) -> Path:
    path.mkdir()
    (path / "file").write_text(path.name)
    return path


def test_the_newest_replaces_one_that_waits(uploads: Uploads, tmp_path: Path) -> None:
    folders = [folder(tmp_path / name) for name in "abcd"]
    uploads.queue.put(folders[0])
    assert uploads.begun.acquire(timeout=60)
    for path in folders[1:]:
        uploads.queue.put(path)
    assert [path.exists() for path in folders] == [True, False, False, True]
    assert uploads.queue.busy
    uploads.open.release(2)
    assert uploads.queue.wait() is None
    assert uploads.done == ["a", "d"]
    assert uploads.most_at_once == 1
    assert not uploads.queue.busy
    assert list(tmp_path.iterdir()) == []


def test_it_goes_on_after_a_pause(uploads: Uploads, tmp_path: Path) -> None:
    uploads.open.release(2)
    for name in "ab":
        uploads.queue.put(folder(tmp_path / name))
        assert uploads.queue.wait() is None
    assert uploads.done == ["a", "b"]


def test_a_failure_is_reported_and_the_next_is_uploaded(uploads: Uploads, tmp_path: Path) -> None:
    uploads.broken = {"a"}
    uploads.open.release(2)
    uploads.queue.put(folder(tmp_path / "a"))
    assert str(uploads.queue.wait()) == "no a"
    assert uploads.failed == ["no a"]
    uploads.queue.put(folder(tmp_path / "b"))
    assert uploads.queue.wait() is None
    assert uploads.done == ["b"]
    assert list(tmp_path.iterdir()) == []


def test_what_is_given_up_is_not_reported(uploads: Uploads, tmp_path: Path) -> None:
    uploads.broken = {"a"}
    uploads.queue.put(folder(tmp_path / "a"))
    assert uploads.begun.acquire(timeout=60)
    uploads.queue.put(folder(tmp_path / "b"))
    uploads.queue.give_up()
    assert not (tmp_path / "b").exists()
    uploads.open.release(2)
    uploads.queue.wait()
    assert uploads.failed == uploads.done == []


def test_nothing_to_wait_for(uploads: Uploads) -> None:
    assert uploads.queue.wait() is None
    assert not uploads.queue.busy

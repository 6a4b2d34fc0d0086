"""Files and folders appear whole or not at all."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qa_lightning.utils.errors import UserError
from qa_lightning.utils.files import link_or_copy, whole_folder, write_entries, write_json


@pytest.fixture(params=[0o022, 0o077, 0o002])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_json_is_readable_text(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "x.json"
    write_json(path, {"Ünïcode": "日本\x1b", "n": [1, 2.5, None]})
    text = path.read_text(encoding="utf-8")
    assert '"Ünïcode": "日本\\u001b"' in text  # no escapes but for what is no character
    assert text.endswith("}\n")
    assert json.loads(text) == {"Ünïcode": "日本\x1b", "n": [1, 2.5, None]}


def test_numbers_keep_all_their_digits(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", [0.1 + 0.2, 100 / 3])
    assert json.loads((tmp_path / "x.json").read_text()) == [0.1 + 0.2, 100 / 3]


@pytest.mark.parametrize("entries", [{}, {"a": 1}, {'Ün\n"': [{"x": "日本\x1b", "y": 0.1 + 0.2}], "b": None, "c": "d"}])
def test_entries_are_one_object_with_a_line_for_each(tmp_path: Path, entries: dict) -> None:
    path = tmp_path / "new" / "x.json"
    write_entries(path, iter(entries.items()))
    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == entries
    assert list(json.loads(text)) == list(entries)
    assert len(text.splitlines()) == (len(entries) + 2 if entries else 1)
    assert "\\u" not in text.replace("\\u001b", "")


def test_entries_that_fail_half_way_leave_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_entries(path, [("old", 1)])

    def entries() -> Iterator[tuple[str, int]]:
        yield "new", 2
        assert len(list(tmp_path.iterdir())) == 2
        raise KeyError

    with pytest.raises(KeyError):
        write_entries(path, entries())
    assert json.loads(path.read_text()) == {"old": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, "old")
    with pytest.raises(TypeError):
        write_json(path, ["new", object()])
    assert json.loads(path.read_text()) == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_as_readable_as_the_umask_says(tmp_path: Path, umask: int) -> None:
    write_json(tmp_path / "x.json", 1)
    assert mode(tmp_path / "x.json") == 0o666 & ~umask
    assert os.umask(umask) == umask  # left as it was


def test_a_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "model"
    for text in ("first", "second"):
        with whole_folder(path) as folder:
            (folder / f"{text}.txt").write_text(text)
            assert not (path / f"{text}.txt").exists()
        assert [file.name for file in path.iterdir()] == [f"{text}.txt"]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_the_old_folder_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "model"
    with whole_folder(path) as folder:
        (folder / "a").write_text("old")

    def write_and_fail() -> None:
        with whole_folder(path) as folder:
            (folder / "a").write_text("new")
            raise error

    with pytest.raises(error):
        write_and_fail()
    assert (path / "a").read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_exception_leaves_no_folder_where_there_was_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stop"), whole_folder(tmp_path / "model"):
        raise ValueError("stop")
    assert not list(tmp_path.iterdir())


def test_an_interruption_between_the_two_renames_brings_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model"
    with whole_folder(path) as folder:
        (folder / "a").write_text("old")
    rename = Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt), whole_folder(path) as folder:
        (folder / "a").write_text("new")
    assert (path / "a").read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_as_readable_as_the_umask_says(tmp_path: Path, umask: int) -> None:
    with whole_folder(tmp_path / "model") as folder:
        (folder / "a").write_text("x")
    assert mode(tmp_path / "model") == 0o777 & ~umask
    assert mode(tmp_path / "model" / "a") == 0o666 & ~umask


@pytest.mark.parametrize("path", ["file/out.json", "folder"])
def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=f"{path}: cannot be written: "):
        write_json(tmp_path / path, {})
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


@pytest.mark.parametrize("links", [True, False])
def test_a_file_gets_a_second_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(95, "Operation not supported")

    if not links:
        monkeypatch.setattr(Path, "hardlink_to", refuse)
    source, target = tmp_path / "source", tmp_path / "folder" / "target"
    source.write_text("new", encoding="utf-8")
    for _ in range(2):  # the second time, it is there already
        link_or_copy(source, target)
        assert target.read_text(encoding="utf-8") == "new"
        assert target.samefile(source) is links
    newer = tmp_path / "newer"
    newer.write_text("newer", encoding="utf-8")
    link_or_copy(newer, target)
    assert target.read_text(encoding="utf-8") == "newer"
    assert source.read_text(encoding="utf-8") == "new"
    assert [path.name for path in target.parent.iterdir()] == ["target"]


def test_a_second_name_of_nothing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="target: cannot be written: No such file"):
        link_or_copy(tmp_path / "absent", tmp_path / "target")
    assert list(tmp_path.iterdir()) == []

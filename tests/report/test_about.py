"""What a page says of how its run was made."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from qa_lightning.report.about import About, about_run, in_lines, readable_date
from qa_lightning.runs.folder import RunFolder
from qa_lightning.runs.run_info import Command, RunInfo, write_run_info
from qa_lightning.utils.errors import UserError

COMMANDS = [
    Command("program fit --x 1", "2026-11-30T04:19:58+00:00", {"torch": "2.12"}),
    Command("program fit --ckpt_path last", "2026-12-01T00:00:00+00:00", {"torch": "2.13", "python": "3.12"}),
]


def write_run(folder: Path, *, info: bool = True, **data: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model": {"config_name": "/models/small"}, "data": {"train_file": "/a/b.json", **data}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    if info:
        write_run_info(RunFolder(folder), RunInfo(COMMANDS, {"trainer": {"max_epochs": 1}}))
    return folder


def write_counts(folder: Path, **counts: Any) -> None:
    (folder / "data.json").write_text(json.dumps({name.replace("__", "/"): value for name, value in counts.items()}))


def test_all_that_is_known_is_said(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", validation_file={"en": "/a/en.json", "vi": "/a/vi.json"})
    dropped = {"dropped": {"too long": 3}, "alignment": {"dropped_questions": 2}}
    write_counts(
        run,
        train={"questions": 1200, "windows": 2400, **dropped},
        validation__en={"questions": 10, "windows": 20},
        validation__vi={"questions": 5, "windows": 6},
    )
    found = about_run(run)
    assert found == About(
        model="small, from random weights",
        data={
            "training": "b.json; 1,200 questions, 2,400 windows, 5 questions dropped",
            "validation": "en.json, vi.json; en: 10 questions, 20 windows; vi: 5 questions, 6 windows",
        },
        date="30 November 2026, 04:19 UTC",
        commands=tuple(COMMANDS),
        settings={"trainer.max_epochs": "1"},
        all_known=True,
    )
    assert found.versions == "torch 2.13, python 3.12"
    (run / "en").mkdir()
    assert about_run(run / "en") == found  # a set's folder is its run's
    # An evaluation read no training data; what its model was trained on stands above.
    (run / "metrics.json").write_text("{}")
    test = write_run(run / "test", test_file="/a/test.json")
    write_counts(test, test={"questions": 7, "windows": 8})
    assert about_run(test).data == found.data | {
        "validation": "en: 10 questions, 20 windows; vi: 5 questions, 6 windows",
        "test": "test.json; 7 questions, 8 windows",
    }


def test_a_run_of_an_older_version_says_what_its_config_does(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", info=False)
    found = about_run(run)
    assert (found.commands, found.date, found.versions, found.all_known) == ((), "", "", False)
    assert found.data == {"training": "b.json"}
    assert about_run(tmp_path) == About()


@pytest.mark.parametrize("text", ["[", '{"train": 1}', '{"train": {"questions": "x"}}', "[1]"])
def test_counts_that_cannot_be_read_are_named(text: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "data.json").write_text(text)
    with pytest.raises(UserError, match=r"data\.json"):
        about_run(run)


def test_a_date_that_is_none_stays_as_it_is() -> None:
    assert readable_date("some day") == "some day"


def test_a_command_in_lines_is_the_same_to_a_shell() -> None:
    command = """printf '%s|' fit --a 'b --c' --d 'it'"'"'s --e' --f=~x"""
    shown = in_lines(command)
    assert shown.count("\n") == 3
    one, other = (
        subprocess.run(["sh", "-c", text], capture_output=True, check=True).stdout for text in (command, shown)
    )
    assert one == other

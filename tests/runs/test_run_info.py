"""How a run was made, as its folder says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from qa_lightning.runs.folder import RunFolder
from qa_lightning.runs.run_info import RunInfo, flat_settings, read_run_info, this_command, write_run_info
from qa_lightning.utils.errors import UserError


def test_a_command_can_be_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    command = this_command(
        "program", ["fit", "/home/ada/my data.json", "--x", "{a: b}", "--token", "abc", "/home/adam"]
    )
    assert command.command == "program fit ~'/my data.json' --x '{a: b}' --token '***' /home/adam"
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", command.date)
    assert {"qa_lightning", "python", "torch", "transformers", "lightning"} <= command.versions.keys()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert read_run_info(folder) is None
    info = RunInfo([this_command("program", ["fit"])], {"trainer": {"max_epochs": 1}})
    write_run_info(folder, info)
    assert read_run_info(folder) == info


@pytest.mark.parametrize(
    "text", ["[", "[]", "{}", '{"commands": [1], "changed_settings": {}}', '{"commands": [], "changed_settings": []}']
)
def test_a_file_that_is_something_else_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(UserError, match=r"run\.json: does not say how a run was made"):
        read_run_info(RunFolder(tmp_path))


def test_settings_are_named_as_their_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    callback = {"class_path": "some.place.Callback", "init_args": {"every": 2, "of": ["a", None]}}
    settings = {
        "trainer": {"max_epochs": 2, "callbacks": [callback], "logger": callback, "plugins": {}},
        "model": {"class_path": "qa_lightning.QALightningModule", "init_args": {"learning_rate": 3e-5}},
        "data": {"class_path": "mine.Data", "init_args": {"train_file": "/home/ada/a.json", "null": True}},
    }
    assert flat_settings(json.loads(json.dumps(settings))) == {
        "trainer.max_epochs": "2",
        "trainer.callbacks": "[Callback(every=2, of=[a, null])]",
        "trainer.logger": "Callback",
        "trainer.logger.every": "2",
        "trainer.logger.of": "[a, null]",
        "trainer.plugins": "{}",
        "model.learning_rate": "3e-05",
        "data": "Data",
        "data.train_file": "~/a.json",
        "data.null": "true",
    }

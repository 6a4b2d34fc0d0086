"""The command of a trial is, word by word, what W&B's own code renders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qa_lightning.experiments.sweep_command import DEFAULT_COMMAND, render, write_json_file

VALUES: dict[str, Any] = {
    "model.learning_rate": 1e-05,
    "data.batch_size": 16,
    "model.packing": True,
    "off": False,
    "name": "a b='é'",
    "none": None,
    "model": {"optimizer": {"lr": 1e-05}},
    "list": [1, "x"],
}


def by_wandb(command: list[Any], program: str, values: dict[str, Any], json_file: str) -> list[str]:
    """What `wandb.wandb_agent.Agent._command_run` puts together, by the functions that it calls."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

    filled = create_sweep_command_args({"args": {name: {"value": value} for name, value in values.items()}})
    filled |= {"interpreter": ["python"], "program": [program], "args_json_file": [json_file], "env": ["/usr/bin/env"]}
    words: list[str] = []
    for word in map(str, create_sweep_command(list(command))):
        words += (filled.get(word[2:-1]) or []) if word.startswith("${") and word.endswith("}") else [word]
    return words


@pytest.mark.parametrize(
    "command",
    [
        list(DEFAULT_COMMAND),
        ["${env}", "${interpreter}", "-m", "${program}", "fit", "--config", "a.yaml", "${args}"],
        ["${program}", "${args_no_hyphens}", 3, 0.5],
        ["x", "${args_no_boolean_flags}", "${args_no_equals}"],
        ["x", "${args_json}", "${args_append_hydra}", "${args_override_hydra}"],
        ["x", "${args_json_file}", "${envvar:PLACE}", "at ${envvar:PLACE} and ${envvar:ABSENT}", "${args} no macro"],
    ],
)
def test_words_are_those_of_wandb(command: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLACE", "${here}")
    monkeypatch.delenv("ABSENT", raising=False)
    wanted = by_wandb(command, "train.py", VALUES, "a/b.json")
    words = render(list(map(str, command)), "train.py", VALUES, interpreter="python", json_file=Path("a/b.json"))
    if "${envvar:PLACE}" in command:  # what a variable holds is no macro here
        assert words.pop(2) == "${here}"
    assert words == wanted


def test_the_file_of_parameters(tmp_path: Path) -> None:
    path = tmp_path / "new/values.json"
    write_json_file(["x", "${args}"], VALUES, path)
    assert not path.exists()
    write_json_file(["x", "${args_json_file}"], VALUES, path)
    assert json.loads(path.read_text()) == VALUES

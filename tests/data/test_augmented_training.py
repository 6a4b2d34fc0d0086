"""Trainings with augmentation, by the command: kept, resumed in mid-epoch, on two processes, and refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from qa_lightning.cli.main import main
from tests.commands import check_refused_before_data, check_two_processes
from tests.tiny import fit_arguments, tiny_folder, write_squad
from tests.training import NO_DROPOUT, trains

pytestmark = trains

SECTION: dict[str, Any] = {
    "probability": 0.8,
    "typos": 0.1,
    "casing": 0.1,
    "shuffle_sentences": 0.5,
    "distractors": 1,
    "templates": ["{question}", "So, {question}"],
    "replacement_rate": 0.9,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def command(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A training with all of it, but for its folder and length."""
    files = tmp_path_factory.mktemp("whole")
    (files / "words.tsv").write_text("built\tmade\twrote\nfirst\told\n")
    config = files / "augmented.yaml"
    section = SECTION | {"replacements": str(files / "words.tsv")}
    config.write_text(yaml.safe_dump({"data": {"augmentation": section}}))
    squad = str(write_squad(files / "squad.json", copies=2))
    first, *others = fit_arguments(str(folder), squad, squad)
    constant = ("--model.learning_rate", "0.01", "--model.lr_scheduler_type", "constant")
    return [first, "--config", str(config), *others, *constant]


@pytest.fixture(scope="module")
def whole(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs of three steps in one go."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    assert main([*command, "--trainer.max_epochs", "2", "--run_dir", str(run)]) == 0
    return run


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]


def test_a_run_keeps_its_section(whole: Path) -> None:
    kept = yaml.safe_load((whole / "config.yaml").read_text())["data"]["init_args"]["augmentation"]
    assert {name: kept[name] for name in SECTION} == SECTION
    checkpoint = torch.load(whole / "checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["datamodule_hyper_parameters"]["augmentation"] == kept
    assert checkpoint["global_step"] == 6


def test_a_training_that_was_stopped_in_mid_epoch_ends_with_the_same_weights(
    command: list[str], whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert main([*command, "--trainer.max_epochs", "2", "--trainer.max_steps", "4", "--run_dir", str(run)]) == 0
    assert main(["fit", "--run_dir", str(run), "--ckpt_path", "last", "--trainer.max_steps", "6"]) == 0
    ours, theirs = weights(run), weights(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_packing_trains_as_well(command: list[str], tmp_path: Path) -> None:
    assert main([*command, "--model.packing", "true", "--run_dir", str(tmp_path / "run")]) == 0
    assert all(values.isfinite().all() for values in weights(tmp_path / "run").values())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data.augmentation.typos", "1.5"], "data.augmentation.typos must be at most 1, not 1.5"),
        (["--data.augmentation.probability", "0.9"], "data.augmentation has nothing on, but sets probability"),
        (["--data.augmentation.templates", "[Why]"], "data.augmentation.templates: 'Why' has no {question} in it"),
        (["--data.augmentation.replacements", "no.json"], "data.augmentation.replacements: no.json: cannot be read"),
    ],
)
def test_mistakes_end_before_data_are_read(
    folder: Path, tmp_path: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    check_refused_before_data(folder, flags, message, tmp_path / "run", capsys)


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_with_two_batches_a_step(command: list[str], tmp_path: Path) -> None:
    dropout = [item for key in NO_DROPOUT for item in (f"--model.config_overrides.{key}", "0.0")]
    check_two_processes([*command, *dropout, "--data.batch_size", "6"], tmp_path)

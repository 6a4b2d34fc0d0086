"""Any two of the training methods work together: a covering design, whose trainings hold each pair of them once."""

from __future__ import annotations

import math
from functools import partial
from itertools import combinations, product
from pathlib import Path
from typing import Any

import covertable
import pytest
import torch
import yaml

from benchmarks.methods import nested
from qa_lightning import Reader
from qa_lightning.cli.main import main
from tests.commands import last_checkpoint
from tests.tiny import PASSAGES, tiny_folder
from tests.training import SETTINGS, write_long

pytestmark = pytest.mark.slow

OFF: dict[str, Any] = {}

METHODS: dict[str, dict[str, dict[str, Any]]] = {
    "batches": {
        "padded": {"model.packing": False},
        "packed": {"model.packing": True},
        "accumulated": {"model.packing": False, "trainer.accumulate_grad_batches": 2},
        "tokens": {"model.packing": False, "data.tokens_per_batch": 80},
        "bfloat16": {"model.packing": False, "trainer.precision": "bf16-mixed"},
        "checkpointing": {"model.packing": False, "model.gradient_checkpointing": True},
    },
    "regularization": {
        "none": OFF,
        "r_drop": {"model.regularization.r_drop": 1.0},
        "fgm": {"model.regularization.fgm": 1.0},
        "awp": {"model.regularization.awp": 1.0},
        "smart": {"model.regularization.smart": 1.0},
    },
    "rates": {
        "plain": OFF,
        "layer_decay": {"model.optimization.layer_decay": 0.8, "model.optimization.head_learning_rate": 1e-2},
        "unfreezing": {"model.optimization.unfreeze_every_n_steps": 2},
        "freezing": {"model.optimization.freeze_embeddings": True, "model.optimization.reinit_layers": 1},
    },
    "optimizer": {
        "adamw": OFF,
        "muon": {"model.optimization.optimizer_type": "muon"},
        "lion": {"model.optimization.optimizer_type": "lion", "model.lr_scheduler_type": "warmup_stable_decay"},
    },
    "pretrained weights": {
        "free": OFF,
        "mixout": {"model.optimization.mixout": 0.5},
        "l2_sp": {"model.optimization.pretrained_decay": 0.1},
    },
    "normalization": {
        "pointers": OFF,
        "spans": {"model.loss.normalization": "spans"},
    },
    "golds": {
        "plain": OFF,
        "smoothed": {"model.loss.label_smoothing": 0.1, "model.loss.null_focal_gamma": 2.0},
        "all": {"data.answers": "all", "model.loss.answer_window_weight": 2.0},
    },
    "null_windows": {
        "all": OFF,
        "share": {"data.null_windows": 0.3},
    },
    "ema": {
        "off": OFF,
        "on": {"ema_decay": 0.9},
    },
    "head": {
        "pointer": OFF,
        "joint": {"model.head.type": "joint", "model.head.answerability": True},
        "biaffine": {"model.head.type": "biaffine"},
    },
    "adapter": {
        "full": OFF,
        "lora": {"model.peft.r": 2},
    },
    "teacher": {
        "none": OFF,
        "one": {"model.teacher.model_name_or_path": "MODEL"},
    },
    "texts": {
        "as_they_are": OFF,
        "augmented": {"data.augmentation.casing": 0.3, "data.augmentation.shuffle_sentences": 0.5},
    },
    "sets": {
        "one": {"data.train_file": "SQUAD"},
        "two": {"data.train_sets": {"a": {"file": "SQUAD", "weight": 2.0}, "b": {"file": "SQUAD"}}},
    },
}
"""What can be chosen of each kind of method, by its name, with its settings by their dotted names."""


REFUSED = [
    {"regularization": "awp", "batches": "checkpointing"},
    {"adapter": "lora", "regularization": "fgm"},
    {"adapter": "lora", "rates": "freezing"},
    {"adapter": "lora", "pretrained weights": "mixout"},
    {"adapter": "lora", "pretrained weights": "l2_sp"},
    {"teacher": "one", "texts": "augmented"},
]
"""Pairs that are refused by name."""


def _is_not(pair: dict[str, str], row: dict[str, str]) -> bool:
    return any(row[kind] != name for kind, name in pair.items())


DESIGN: list[dict[str, str]] = covertable.make(
    {kind: list(names) for kind, names in METHODS.items()},
    constraints=[{"operator": "fn", "requires": list(pair), "evaluate": partial(_is_not, pair)} for pair in REFUSED],
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("model"), layers=2)


@pytest.fixture(scope="module")
def squad(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_long(tmp_path_factory.mktemp("data") / "squad.json", copies=2)


def test_the_design_holds_each_pair() -> None:
    wanted = {
        frozenset(pair)
        for kinds in combinations(METHODS, 2)
        for pair in product(*([(kind, name) for name in METHODS[kind]] for kind in kinds))
    }
    covered = {frozenset(pair) for row in DESIGN for pair in combinations(row.items(), 2)}
    assert wanted - covered == {frozenset(pair.items()) for pair in REFUSED}


def write_config(folder: Path, choice: dict[str, str], model: Path, squad: Path) -> str:
    """Writes the config of a short training with these methods; those that are not named are off."""
    settings: dict[str, Any] = {
        "seed_everything": 1,
        "model.model_name_or_path": str(model),
        "model.learning_rate": 1e-3,
        "data.validation_file": str(squad),
        "data.batch_size": 4,
        **{f"data.{name}": value for name, value in SETTINGS.items()},
        "trainer.max_steps": 6,
        "trainer.accelerator": "cpu",
        "trainer.enable_progress_bar": False,
        "trainer.enable_model_summary": False,
        "trainer.log_every_n_steps": 1,
        "trainer.val_check_interval": 1.0,
        "checkpoint.every_n_train_steps": 3,
        "checkpoint.save_total_limit": -1,
    }
    for kind, names in METHODS.items():
        settings |= names[choice.get(kind, next(iter(names)))]
    text = yaml.safe_dump(nested(settings)).replace("MODEL", str(model)).replace("SQUAD", str(squad))
    (folder / "config.yaml").write_text(text)
    return str(folder / "config.yaml")


@pytest.mark.parametrize("pair", REFUSED, ids=[" ".join(pair.values()) for pair in REFUSED])
def test_pairs_are_refused_by_name(
    pair: dict[str, str], model: Path, squad: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, pair, model, squad)
    assert main(["fit", "--config", config, "--run_dir", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    for kind, name in pair.items():
        settings = METHODS[kind][name]
        assert any(setting.rpartition(".")[2] in error or setting.split(".")[1] in error for setting in settings)


@pytest.mark.parametrize("choice", DESIGN, ids=[" ".join(row[kind] for kind in METHODS) for row in DESIGN])
def test_methods_train_together_and_resume_to_the_same_weights(
    choice: dict[str, str], model: Path, squad: Path, tmp_path: Path
) -> None:
    config = write_config(tmp_path, choice, model, squad)
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    assert main(["fit", "--config", config, "--run_dir", str(whole)]) == 0
    on_the_way = whole / "checkpoints/step-3.ckpt"
    assert main(["fit", "--config", config, "--run_dir", str(resumed), "--ckpt_path", str(on_the_way)]) == 0
    expected, found = last_checkpoint(whole), last_checkpoint(resumed)
    assert expected["global_step"] == found["global_step"] == 6
    for part in {"state_dict", "current_model_state"} & expected.keys():
        assert expected[part].keys() == found[part].keys()
        for key, value in expected[part].items():
            assert torch.equal(value, found[part][key]), key
    assert all(torch.isfinite(value).all() for value in expected["state_dict"].values())
    answer = Reader.from_pretrained(str(whole / "best_model"))(question="Where?", context=PASSAGES[0][0])
    assert math.isfinite(answer["score"])

"""What a model's provenance says, and that it does not reveal where files are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from qa_lightning.runs.provenance import Provenance, on_hub, provenance_of, public_name
from qa_lightning.utils.errors import UserError


def write_run(folder: Path, metrics: dict[str, Any], model: dict[str, Any], **data: Any) -> Path:
    config = {
        "seed_everything": 7,
        "trainer": {"max_epochs": 2, "max_steps": -1, "precision": None},
        "model": {"class_path": "qa_lightning.modeling.module.QALightningModule", "init_args": model},
        "data": {"class_path": "qa_lightning.data.datamodule.QADataModule", "init_args": data},
    }
    (folder / "best_model").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


@pytest.mark.parametrize("part", ["", "best_model"])
def test_a_run_describes_its_model(part: str, tmp_path: Path) -> None:
    run = write_run(
        tmp_path / "run",
        {"epoch": 1, "step": 20, "val/f1": 80.5, "val/f1_ci95": [79.0, 82.0]},
        {
            "model_name_or_path": "google-bert/bert-base-uncased",
            "learning_rate": 3e-5,
            "warmup_steps": 0,
            "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1}},
            "language": "de",
        },
        train_file=[str(tmp_path / "private/train one.json"), "/far/away/two.json"],
        validation_file={"a": "/data/dev-a.json", "b": "/data/dev-b.json"},
        batch_size=16,
    )
    assert provenance_of(str(run / part)) == Provenance(
        base="google-bert/bert-base-uncased",
        base_is_on_hub=True,
        data={"training": "train one.json, two.json", "validation": "dev-a.json, dev-b.json"},
        training={
            "learning_rate": "3e-05",
            "optimizer": "SGD",
            "batch_size": "16",
            "max_epochs": "2",
            "seed_everything": "7",
        },
        language="de",
        scores={"": {"epoch": 1, "step": 20, "f1": 80.5, "f1_ci95": [79.0, 82.0]}},
    )


def test_a_data_set_of_the_hub_and_named_evaluation_sets(tmp_path: Path) -> None:
    run = write_run(
        tmp_path / "run",
        {"epoch": 1, "step": 20, "val/en/f1": 80.5, "val/de/f1": 70.5},
        {"model_name_or_path": None, "config_name": "google-bert/bert-base-uncased"},
        dataset_name="rajpurkar/squad_v2",
        dataset_config_name="plain",
        train_split="train",
        validation_split="validation[:10]",
    )
    for name in ("en", "de", "checkpoints"):
        (run / name).mkdir()
    known = provenance_of(str(run))
    assert known.datasets == ("rajpurkar/squad_v2",)
    assert known.data == {
        "training": "rajpurkar/squad_v2, plain, train",
        "validation": "rajpurkar/squad_v2, plain, validation[:10]",
    }
    assert known.scores.keys() == {"en", "de"}
    assert known.scores["de"]["f1"] == 70.5
    assert not known.base_is_on_hub  # its weights are not from there


def test_a_local_base_is_named_without_its_folder(tmp_path: Path) -> None:
    (tmp_path / "home/base").mkdir(parents=True)
    run = write_run(tmp_path / "run", {}, {"model_name_or_path": str(tmp_path / "home/base")}, synthetic={"seed": 0})
    known = provenance_of(str(run))
    assert (known.base, known.base_is_on_hub) == ("base", False)
    assert known.data == {"training and validation": "the corpus that qa_lightning writes itself"}


def test_any_other_model_is_its_own_base(tmp_path: Path) -> None:
    assert provenance_of("deepset/roberta-base-squad2") == Provenance("deepset/roberta-base-squad2", True)
    assert provenance_of(str(tmp_path)) == Provenance(tmp_path.name, False)


def test_a_broken_config_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("{")
    with pytest.raises(UserError, match=r"config\.yaml: cannot be read as YAML: "):
        provenance_of(str(tmp_path))
    (tmp_path / "config.yaml").write_text("!!python/object/apply:os.getcwd []")
    with pytest.raises(UserError, match=r"config\.yaml: cannot be read as YAML: could not determine a constructor"):
        provenance_of(str(tmp_path))
    (tmp_path / "config.yaml").write_text("- 1")
    with pytest.raises(UserError, match=r"config\.yaml: not the settings of a run"):
        provenance_of(str(tmp_path))


def test_names(tmp_path: Path) -> None:
    assert on_hub("me/model")
    assert not on_hub("runs/x/checkpoints/best.ckpt")
    assert not on_hub(str(tmp_path))
    assert not on_hub("")
    assert public_name("me/model") == "me/model"
    assert public_name("runs/x/checkpoints/best.ckpt") == "best.ckpt"
    assert public_name("") == ""


def test_several_training_sets_are_named_with_their_sources(tmp_path: Path) -> None:
    sets = {
        "squad": {"dataset_name": "rajpurkar/squad", "split": "train[:10%]"},
        "own": {"file": [str(tmp_path / "a.json"), str(tmp_path / "b.csv")], "split": "train"},
    }
    run = write_run(tmp_path / "run", {}, {"model_name_or_path": "x/y"}, train_sets=sets, validation_file="v.json")
    known = provenance_of(str(run))
    assert known.datasets == ("rajpurkar/squad",)
    assert known.data["training"] == "own: a.json, b.csv; squad: rajpurkar/squad, train[:10%]"

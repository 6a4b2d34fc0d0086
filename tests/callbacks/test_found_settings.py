"""A batch size and a learning rate that were searched for are what is trained with and what ``config.yaml`` says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder

from qa_lightning.cli.main import main
from tests.tiny import fit_arguments, tiny_folder, write_squad
from tests.training import trains

pytestmark = trains

LEARNING_RATE = """
trainer:
  callbacks:
    - class_path: LearningRateFinder
      init_args: {num_training_steps: 30, early_stop_threshold: null, min_lr: 1e-4}
"""
BATCH_SIZE = """
trainer:
  callbacks:
    - class_path: BatchSizeFinder
      init_args: {max_trials: 3}
"""
BOTH = LEARNING_RATE + "".join(BATCH_SIZE.splitlines(keepends=True)[3:])
FINDERS = {"learning_rate": LEARNING_RATE, "batch_size": BATCH_SIZE, "both": BOTH}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_folder(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def squad(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_squad(tmp_path_factory.mktemp("data") / "squad.json", copies=8))


@pytest.fixture
def arguments(model: str, squad: str) -> list[str]:
    return [*fit_arguments(model, squad, squad)[1:], "--trainer.max_epochs", "2", "--model.learning_rate", "0.003"]


@pytest.fixture
def finders(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    (tmp_path / "finders.yaml").write_text(FINDERS[request.param])
    return str(tmp_path / "finders.yaml")


class Loader(yaml.SafeLoader):
    """Leaves out the objects that a logger may have written."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def settings(run: Path, file: str = "config.yaml") -> tuple[float, int]:
    config: dict[str, Any] = yaml.load((run / file).read_text(), Loader)
    return config["model"]["init_args"]["learning_rate"], config["data"]["init_args"]["batch_size"]


def hyperparameters(run: Path) -> tuple[float, int]:
    return settings(next(run.glob("logs/*/hparams.yaml")).parent, "hparams.yaml")


def saved(run: Path) -> dict[str, Any]:
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize("finders", FINDERS, indirect=True)
def test_training_goes_by_what_was_found(arguments: list[str], tmp_path: Path, finders: str) -> None:
    run, plain = tmp_path / "run", tmp_path / "plain"
    assert main(["fit", "--config", finders, *arguments, "--run_dir", str(run)]) == 0
    learning_rate, batch_size = settings(run)
    assert (learning_rate == 0.003) == ("LearningRate" not in Path(finders).read_text())
    assert batch_size == (8 if "BatchSize" in Path(finders).read_text() else 4)
    assert hyperparameters(run) == (learning_rate, batch_size)
    assert not list(run.glob(".*"))
    found = ["--model.learning_rate", repr(learning_rate), "--data.batch_size", str(batch_size)]
    assert main(["fit", *arguments, *found, "--run_dir", str(plain)]) == 0
    searched, given = saved(run), saved(plain)
    assert all(torch.equal(value, searched["state_dict"][name]) for name, value in given["state_dict"].items())
    assert searched["global_step"] == given["global_step"]
    assert searched["lr_schedulers"] == given["lr_schedulers"]
    for key in ("hyper_parameters", "datamodule_hyper_parameters"):
        assert searched[key] == given[key]
    assert (run / "predictions.json").read_bytes() == (plain / "predictions.json").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("finders", ["both"], indirect=True)
def test_a_training_that_goes_on_does_not_search_again(
    arguments: list[str], tmp_path: Path, finders: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    run = tmp_path / "run"
    assert main(["fit", "--config", finders, *arguments, "--run_dir", str(run)]) == 0
    found = settings(run)
    for finder, search in ((BatchSizeFinder, "scale_batch_size"), (LearningRateFinder, "lr_find")):
        monkeypatch.setattr(finder, search, lambda *_: pytest.fail("searched"))
    assert main(["fit", "--run_dir", str(run), "--ckpt_path", "last", "--trainer.max_epochs", "3"]) == 0
    assert settings(run) == found
    assert (saved(run)["hyper_parameters"]["learning_rate"], saved(run)["global_step"]) == (found[0], 18)
    assert main(["validate", "--run_dir", str(run)]) == 0


@pytest.mark.filterwarnings("ignore:.*not numbers are left out of their mean")
def test_a_search_may_go_where_the_loss_is_no_number(arguments: list[str], tmp_path: Path) -> None:
    finder = "{class_path: LearningRateFinder, init_args: {num_training_steps: 12, max_lr: 1e38}}"
    assert main(["fit", *arguments, "--trainer.callbacks", finder, "--run_dir", str(tmp_path / "run")]) == 0


def test_evaluation_batches_go_with_the_batch_size_that_was_found(model: str) -> None:
    from tests.training import make_data

    data = make_data(model, batch_size=4)
    data.batch_size = 8
    assert data.eval_batch_size == 16
    assert make_data(model, batch_size=4, eval_batch_size=3).eval_batch_size == 3

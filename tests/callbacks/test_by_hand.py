"""A notebook: module, data and trainer made by hand leave a run's folder, and what cannot go together is refused."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch.loggers import CSVLogger
from torch import nn

from qa_lightning import QADataModule, QALightningModule, Reader, Results, RunCheckpoint, UserError
from qa_lightning.cli.main import main
from qa_lightning.runs.folder import RunFolder
from qa_lightning.runs.history import read_curves
from qa_lightning.runs.provenance import provenance_of
from tests.tiny import tiny_folder
from tests.training import SETTINGS, make_data, make_module, make_trainer, trains

pytestmark = trains

QUIET = ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false", "--trainer.log_every_n_steps", "1"]


class Wrapped(nn.Module):
    """A network in another one, which counts how often it is called."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self.config = network.config
        self.calls = 0

    def forward(self, **inputs: Any) -> Any:
        self.calls += 1
        return self.network(**inputs)

    def save_pretrained(self, folder: Path, state_dict: dict[str, Any]) -> None:
        own = {name.removeprefix("network."): value for name, value in state_dict.items()}
        self.network.save_pretrained(folder, state_dict=own)


class Mine(QALightningModule):
    """A user's module: a wrapped network, a hook, arguments of its own."""

    def __init__(self, scale: float = 1.0, activation: Any = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.model = Wrapped(self.model)
        self.scale = scale
        self.hooks = 0

    def on_train_epoch_end(self) -> None:
        super().on_train_epoch_end()
        self.hooks += 1


@pytest.fixture(scope="module")
def made(model: Path, squad: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mine, pl.Trainer]:
    """A training with everything as a notebook has it: paths, NumPy's numbers, a subclass; then a validation."""
    run = tmp_path_factory.mktemp("by_hand") / "run"
    pl.seed_everything(5, verbose=False)
    module = Mine(
        model_name_or_path=model,  # type: ignore[arg-type]
        learning_rate=np.float64(0.02),
        optimizer=functools.partial(torch.optim.SGD, lr=0.1),
        scale=np.float32(2.0),  # type: ignore[arg-type]
        activation=torch.tanh,
        **SETTINGS,
    )
    data = QADataModule(model, train_file=squad, validation_file=[squad], batch_size=4, **SETTINGS)  # type: ignore
    callbacks = [RunCheckpoint(), Results()]
    trainer = make_trainer(
        run, *callbacks, logger=CSVLogger(run, "lightning_logs"), log_every_n_steps=1, gradient_clip_val=1.0
    )
    trainer.fit(module, data)
    trainer.validate(module, data, ckpt_path="best", verbose=False)
    return run, module, trainer


Made = tuple[Path, Mine, pl.Trainer]


def config_of(run: Path) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    return config


def test_the_config_has_what_was_made_by_hand(made: Made, model: Path, squad: Path) -> None:
    config = config_of(made[0])
    assert config["seed_everything"] == 5
    assert config["trainer"]["max_epochs"] == 1
    assert config["trainer"]["gradient_clip_val"] == 1.0
    arguments = config["model"]["init_args"]
    assert config["model"]["class_path"] == f"{__name__}.Mine"
    assert arguments["model_name_or_path"] == str(model)
    assert arguments["learning_rate"] == 0.02
    assert arguments["scale"] == 2.0
    assert arguments["optimizer"] == {"class_path": "torch.optim.sgd.SGD", "init_args": {"lr": 0.1}}
    assert "activation" not in arguments  # it has no plain form
    assert config["data"]["init_args"]["validation_file"] == [str(squad)]
    assert config["checkpoint"]["init_args"]["monitor"] == config["results"]["init_args"]["monitor"] == "val/f1"


def test_a_wrapped_network_and_a_hook_are_used(made: Made) -> None:
    assert made[1].model.calls > 0
    assert made[1].hooks == 1


def test_reader_report_and_compare_read_the_folder(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    run = made[0]
    assert RunFolder(run).is_run
    answer = Reader.from_pretrained(run)(question="Where did Alan live?", context="Alan lived in Rome.")
    assert answer["answer"] in "Alan lived in Rome."
    assert provenance_of(str(run)).data["training"] == "squad.json"
    assert "train/loss" in read_curves(run)
    assert main(["report", str(run)]) == 0
    assert main(["compare", str(run), str(run / "validate")]) == 0
    assert "7 questions" in capsys.readouterr().out


def test_a_later_validation_leaves_the_files_of_the_training(made: Made) -> None:
    run = made[0]
    assert json.loads((run / "metrics.json").read_text())["val/f1"] == pytest.approx(
        json.loads((run / "validate" / "metrics.json").read_text())["val/f1"]
    )
    assert RunFolder(run / "validate").is_run


@pytest.mark.slow
def test_the_command_line_evaluates_and_goes_on_with_the_run(model: Path, squad: Path, run: Path) -> None:
    data = make_data(model, train=squad, validation_file=str(squad))
    make_trainer(run, RunCheckpoint(), Results()).fit(make_module(model), data)
    assert main(["validate", "--run_dir", str(run), *QUIET]) == 0
    assert main(["fit", "--run_dir", str(run), "--ckpt_path", "last", "--trainer.max_epochs", "2", *QUIET]) == 0
    state = torch.load(RunFolder(run).last_checkpoint, weights_only=True)
    assert state["epoch"] == 1


def test_without_validation_the_reader_reads_the_folder(model: Path, squad: Path, run: Path) -> None:
    make_trainer(run, Results()).fit(make_module(model), make_data(model, train=squad))
    assert Reader.from_pretrained(run)(question="Where?", context="In Rome.")["answer"] in "In Rome."


def test_fit_goes_on_when_it_is_called_again(model: Path, squad: Path, run: Path) -> None:
    module, data = make_module(model), make_data(model, train=squad, validation_file=str(squad))
    trainer = make_trainer(run, RunCheckpoint(), Results())
    trainer.fit(module, data)
    trainer.fit(module, data)  # there is nothing left to do
    assert trainer.current_epoch == 1
    trainer.fit_loop.max_epochs = 2
    trainer.fit(module, data)
    assert trainer.current_epoch == 2
    assert config_of(run)["trainer"]["max_epochs"] == 2


def test_a_training_that_replaces_a_run_warns_and_forgets_its_best(model: Path, squad: Path, run: Path) -> None:
    data = make_data(model, train=squad, validation_file=str(squad))
    checkpoint, results = RunCheckpoint(), Results()
    make_trainer(run, checkpoint, results).fit(make_module(model), data)
    results.best = 101.0  # nothing would be better
    checkpoint.best_k_models = {checkpoint.best_model_path: torch.tensor(101.0)}
    before = (run / "best_model").stat().st_ino, RunFolder(run).best_checkpoint.stat().st_mtime_ns
    with pytest.warns(UserWarning, match="holds an earlier run, which this one replaces"):
        make_trainer(run, checkpoint, results, max_epochs=1).fit(make_module(model), data)
    assert results.best is not None
    assert results.best <= 100
    assert RunFolder(run).best_checkpoint.stat().st_mtime_ns != before[1]


def test_settings_that_disagree_are_refused_before_anything_is_trained(model: Path, squad: Path, run: Path) -> None:
    data = make_data(model, train=squad, max_length=24, version_2_with_negative=False)
    with pytest.raises(UserError) as caught:
        make_trainer(run, RunCheckpoint(), Results()).fit(make_module(model), data)
    said = str(caught.value)
    assert "max_length is 20 in QALightningModule and 24 in QADataModule" in said
    assert "version_2_with_negative is True in QALightningModule and False in QADataModule" in said
    assert "doc_stride" not in said
    assert "\n" not in said
    assert not run.exists()
    assert not data.splits  # nor was anything read


def test_tokenizers_that_differ_are_refused_and_names_that_differ_are_not(
    model: Path, squad: Path, run: Path, tmp_path: Path
) -> None:
    other = tiny_folder(tmp_path / "other")
    data = make_data(other, train=squad)
    make_trainer(run).fit(make_module(model), data)
    file = other / "tokenizer.json"
    document = json.loads(file.read_text(encoding="utf-8"))
    vocabulary = document["model"]["vocab"]
    vocabulary["rome"], vocabulary["paris"] = vocabulary["paris"], vocabulary["rome"]
    file.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(UserError, match=r"the tokenizer is .* in QALightningModule and .*other.* in QADataModule"):
        make_trainer(run).fit(make_module(model), make_data(other, train=squad))


def test_callbacks_that_watch_different_scores_are_refused(model: Path, squad: Path, run: Path) -> None:
    trainer = make_trainer(run, RunCheckpoint("val/loss", "min"), Results())
    with pytest.raises(UserError, match=r"RunCheckpoint watches val/loss \(min\) and Results val/f1 \(max\)"):
        trainer.fit(make_module(model), make_data(model, train=squad, validation_file=str(squad)))
    assert not run.exists()


def test_a_trainer_that_would_order_batches_is_refused(model: Path, squad: Path, run: Path) -> None:
    with pytest.raises(UserError, match=r"overfit_batches.*train_split"):
        make_trainer(run, overfit_batches=1).fit(make_module(model), make_data(model, train=squad))


def test_batches_of_others_are_refused(model: Path, run: Path) -> None:
    loader = torch.utils.data.DataLoader([{"input_ids": torch.ones(4, dtype=torch.long)}], batch_size=1)
    with pytest.raises(UserError, match="takes the batches of a QADataModule, not a dict"):
        make_trainer(run).fit(make_module(model), loader, loader)


def test_loaders_of_the_data_module_can_be_given_by_themselves(model: Path, squad: Path, run: Path) -> None:
    data = make_data(model, train=squad, validation_file=str(squad))
    data.setup("fit")
    trainer = make_trainer(run, RunCheckpoint(), Results())
    trainer.fit(make_module(model), data.train_dataloader(), data.val_dataloader())
    assert "data" not in config_of(run)
    assert (run / "metrics.json").is_file()


@pytest.mark.parametrize("verb", ["fit", "validate", "test", "predict"])
def test_a_fast_dev_run_leaves_no_files(model: Path, squad: Path, run: Path, verb: str) -> None:
    data = make_data(model, train=squad, **{f"{split}_file": str(squad) for split in ("validation", "test", "predict")})
    results = Results()
    trainer = make_trainer(run, RunCheckpoint(every_n_train_steps=1), results, fast_dev_run=True)
    getattr(trainer, verb)(make_module(model), data)
    assert not run.exists()
    results.show()


@pytest.mark.parametrize("verb", ["fit", "validate"])
def test_a_fast_dev_run_by_the_command_line_leaves_nothing(
    model: Path, squad: Path, verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = [f"--data.{name}={value}" for name, value in SETTINGS.items()]
    files = ["--data.train_file", str(squad), "--data.validation_file", str(squad)]
    fast = ["--trainer.fast_dev_run", "true", "--model.model_name_or_path", str(model)]
    assert main([verb, *arguments, *files, *fast, *QUIET]) == 0
    assert not list(tmp_path.iterdir())
    out = capsys.readouterr().out
    assert "Nothing is kept of a fast_dev_run" in out
    assert "Everything is in" not in out


def test_a_checkpoint_of_a_users_module_holds_plain_data_only(made: Made) -> None:
    checkpoint = torch.load(RunFolder(made[0]).last_checkpoint, weights_only=True)
    assert checkpoint["hyper_parameters"]["scale"] == 2.0
    assert "activation" not in checkpoint["hyper_parameters"]
    assert QADataModule.load_from_checkpoint(RunFolder(made[0]).last_checkpoint, weights_only=True).batch_size == 4


def test_tables_in_the_place_of_files_are_refused() -> None:
    pandas = pytest.importorskip("pandas")
    with pytest.raises(UserError, match=r"train_file takes the names of files, not a DataFrame.*to_parquet"):
        QADataModule("x", train_file=pandas.DataFrame({"id": ["1"]}))


def test_a_mistake_is_one_line_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    error = UserError("squad.json: row 3 has no context")
    assert error._render_traceback_() == ["UserError: squad.json: row 3 has no context"]
    monkeypatch.setenv("QA_LIGHTNING_DEBUG", "1")
    assert error._render_traceback_()[-1].endswith("UserError: squad.json: row 3 has no context\n")

"""Loggers and callbacks that are named without more, and those whose package is not installed."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from lightning.pytorch.loggers.logger import DummyLogger

from qa_lightning.cli.main import main
from tests.building import build_trainer
from tests.cli.mistakes import error_of
from tests.tiny import fit_arguments, tiny_folder, write_squad
from tests.training import trains

pytestmark = trains


class Own(DummyLogger):
    """A logger of a user's own, which needs a folder, too."""

    def __init__(self, save_dir: str | Path) -> None:
        super().__init__()
        self.folder = save_dir


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A short ``fit`` of a tiny model, without its verb."""
    folder = tmp_path_factory.mktemp("tiny")
    squad = str(write_squad(folder / "squad.json"))
    return fit_arguments(str(tiny_folder(folder / "model")), squad, squad)[1:]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    return tmp_path


FLAGS: list[tuple[list[str], list[type]]] = [
    (["--trainer.logger", "CSVLogger"], [CSVLogger]),
    (["--trainer.logger", "CSVLogger", "--trainer.logger.name", "mine"], [CSVLogger]),
    (["--trainer.logger", "WandbLogger"], [WandbLogger]),
    (["--trainer.logger", "[CSVLogger, WandbLogger]"], [CSVLogger, WandbLogger]),
    (["--trainer.logger", "CSVLogger", "--trainer.logger+", "WandbLogger"], [CSVLogger, WandbLogger]),
    (["--trainer.logger", "tests.cli.test_loggers.Own"], [Own]),
]

CONFIGS: list[tuple[Any, list[type]]] = [
    ({"class_path": "CSVLogger"}, [CSVLogger]),
    ({"class_path": "lightning.pytorch.loggers.WandbLogger"}, [WandbLogger]),
    ([{"class_path": "CSVLogger", "init_args": {"name": "mine"}}, "WandbLogger"], [CSVLogger, WandbLogger]),
    ([{"class_path": "tests.cli.test_loggers.Own"}], [Own]),
]


def folders_of(trainer: Any) -> list[tuple[type, str]]:
    """The loggers that a user asked for, which stand in front of ours, and their folders."""
    return [
        (type(logger), str(logger.folder if isinstance(logger, Own) else logger.save_dir))
        for logger in trainer.loggers[:-1]
    ]


@pytest.mark.parametrize(("flags", "kinds"), FLAGS)
def test_a_logger_that_a_flag_names(flags: list[str], kinds: list[type], here: Path, tiny: list[str]) -> None:
    trainer = build_trainer([*tiny, *flags, "--run_dir", "run"])
    assert folders_of(trainer) == [(kind, "run") for kind in kinds]


@pytest.mark.parametrize(("logger", "kinds"), CONFIGS)
def test_a_logger_that_a_config_names(logger: Any, kinds: list[type], here: Path, tiny: list[str]) -> None:
    Path("logger.yaml").write_text(yaml.safe_dump({"trainer": {"logger": logger}}))
    trainer = build_trainer([*tiny, "--config", "logger.yaml", "--run_dir", "run"])
    assert folders_of(trainer) == [(kind, "run") for kind in kinds]


def test_a_folder_that_is_given_is_kept(here: Path, tiny: list[str]) -> None:
    trainer = build_trainer([*tiny, "--trainer.logger", "CSVLogger", "--trainer.logger.save_dir", "mine"])
    assert folders_of(trainer) == [(CSVLogger, "mine")]


def test_its_files_are_in_the_folders_of_the_training_and_of_its_evaluation(here: Path, tiny: list[str]) -> None:
    flags = ["--trainer.logger", "CSVLogger", "--trainer.limit_train_batches", "1", "--run_dir", "run"]
    assert main(["fit", *tiny, *flags]) == 0
    assert main(["validate", "--run_dir", "run"]) == 0
    assert sorted(path.name for path in here.iterdir()) == ["run"]
    for folder in ("run", "run/validate"):
        with (here / folder / "lightning_logs/version_0/metrics.csv").open(encoding="utf-8") as stream:
            assert any(row.get("val/f1") for row in csv.DictReader(stream))


@pytest.mark.parametrize(
    ("name", "package", "notes"),
    [
        ("WandbLogger", "wandb", {"lightning.pytorch.loggers.wandb._WANDB_AVAILABLE": "wandb"}),
        ("CometLogger", "comet-ml", {"lightning.pytorch.loggers.comet._COMET_AVAILABLE": "comet-ml"}),
        (
            "TensorBoardLogger",
            "tensorboard",
            {
                "lightning.fabric.loggers.tensorboard._TENSORBOARD_AVAILABLE": "tensorboard",
                "lightning.fabric.loggers.tensorboard._TENSORBOARDX_AVAILABLE": "tensorboardX",
            },
        ),
    ],
)
def test_a_logger_without_its_package(
    name: str,
    package: str,
    notes: dict[str, str],
    here: Path,
    tiny: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for place, absent in notes.items():
        monkeypatch.setattr(place, Absent(absent))
    said = without_news(["fit", *tiny, "--trainer.logger", name], capsys)
    assert said == f"error: {name}: it needs a package that is not here: pip install -U {package}"
    assert not list(here.iterdir())


class Absent:
    """Lightning's note of a package that is not installed."""

    def __init__(self, package: str) -> None:
        self.package = package

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return f"Requirement '{self.package}' not met. HINT: Try running `pip install -U '{self.package}'`"


def without_news(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that begins with ``error:``, which a command ends in that has begun to build a run."""
    assert main(arguments) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    return line


def test_a_callback_without_its_package(
    here: Path, tiny: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("accelerators.cpu", "callbacks.device_stats_monitor"):
        monkeypatch.setattr(f"lightning.pytorch.{module}._PSUTIL_AVAILABLE", Absent("psutil"))
    said = without_news(["fit", *tiny, "--trainer.callbacks", "DeviceStatsMonitor"], capsys)
    assert said == "error: DeviceStatsMonitor: it needs a package that is not here: pip install -U psutil"


@pytest.mark.parametrize("key", ["trainer.logger", "trainer.callbacks", "model"])
def test_a_class_of_a_package_that_is_not_installed(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = "absent_package.parts.Thing: No module named 'absent_package'"
    advice = "if a package has it, install that: pip install absent_package"
    assert error_of(["fit", f"--{key}", "absent_package.parts.Thing"], capsys) == f"error: {key}: {asked}; {advice}\n"
    section, _, name = key.partition(".")
    setting = {"class_path": "absent_package.parts.Thing"}
    config = yaml.safe_dump({section: {name: setting} if name else setting})
    assert error_of(["fit", "--config", config], capsys) == f"error: {key}: {asked}; {advice}\n"


def test_a_class_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    for given in (["--trainer.callbacks", "Sampler"], ["--config", "{trainer: {callbacks: [Sampler]}}"]):
        said = error_of(["fit", *given], capsys)
        assert said.startswith("error: trainer.callbacks: 'Sampler' is no file here and no known class; ")
    said = error_of(["fit", "--trainer.callbacks", "lightning.pytorch.callbacks.Sampler"], capsys)
    assert "pip install" not in said
    assert "'Sampler'" in said

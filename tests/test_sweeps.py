"""Every sweep in ``sweeps/`` gives its runs what they understand, rendered by W&B's own code."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from qa_lightning.cli.main import main
from qa_lightning.records import WindowConfig
from tests import standins
from tests.conftest import ROOT
from tests.offline_wandb import OfflineRun, read_offline_run

PATHS = sorted((ROOT / "sweeps").glob("*.yaml"))
NAMES = [path.stem for path in PATHS]

Run = tuple[Path, dict[str, Any], OfflineRun]
"""A run's folder, the parameters that it was given, and what W&B has of it."""


def load(name: str) -> dict[str, Any]:
    """Reads a sweep with PyYAML, as W&B's `load_sweep_config` does, which leaves the file open."""
    return yaml.safe_load((ROOT / "sweeps" / f"{name}.yaml").read_text(encoding="utf-8"))


def choices(parameter: dict[str, Any]) -> list[Any]:
    """The values that a sweep may try; of a range its ends and what lies between them."""
    if "value" in parameter:
        return [parameter["value"]]
    if "values" in parameter:
        return list(parameter["values"])
    return [parameter["min"], math.sqrt(parameter["min"] * parameter["max"]), parameter["max"]]


def combinations(sweep: dict[str, Any]) -> Iterator[dict[str, Any]]:
    names = list(sweep["parameters"])
    for values in itertools.product(*(choices(sweep["parameters"][name]) for name in names)):
        yield dict(zip(names, values, strict=True))


def render(sweep: dict[str, Any], parameters: dict[str, Any]) -> list[str]:
    """The command line of one run, put together as W&B's agent does (`wandb.wandb_agent.Agent._command_run`)."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

    arguments = create_sweep_command_args({"args": {name: {"value": value} for name, value in parameters.items()}})
    arguments |= {"interpreter": ["python"], "program": [sweep["program"]], "env": ["/usr/bin/env"]}
    command: list[str] = []
    for chunk in map(str, create_sweep_command(list(sweep["command"]))):
        command += arguments[chunk[2:-1]] if chunk.startswith("${") and chunk.endswith("}") else [chunk]
    return command


def value_of(config: dict[str, Any], key: str) -> Any:
    """The value of a key as a flag names it (``model.learning_rate``) in a resolved config."""
    section, _, name = key.partition(".")
    if not name:
        return config[section]
    return config[section].get("init_args", config[section])[name]


@pytest.fixture(scope="module")
def finished(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of the largest sweep to its end, in a process of its own, with a tiny model and local data."""
    from wandb.sdk.lib.config_util import save_config_file_from_dict

    sweep, folder = load("lr_batch_epochs"), tmp_path_factory.mktemp("sweep")
    model = standins.save(standins.distilbert, shared, folder / "model")
    (folder / "configs").symlink_to(ROOT / "configs")
    parameters = next(combinations(sweep))
    save_config_file_from_dict(
        str(folder / "parameters.yaml"), {name: {"value": value} for name, value in parameters.items()}
    )
    data = shared / "data"
    flags = {
        "model.model_name_or_path": model,
        "data.train_file": data / "xquad.en.v2.train.json",
        "data.validation_file": data / "xquad.en.v2.dev.json",
        "data.validation_split": "validation[:100]",
        "trainer.limit_train_batches": 4,
        "trainer.accelerator": "cpu",
        "trainer.enable_progress_bar": "false",
    }
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "WANDB_MODE": "offline",
        "WANDB_RUN_ID": "run1",
        "WANDB_SWEEP_ID": "sweep1",
        "WANDB_SWEEP_PARAM_PATH": str(folder / "parameters.yaml"),
        **{f"WANDB_{kind}_DIR": str(folder / "wandb-home") for kind in ("CACHE", "CONFIG", "DATA")},
    }
    command = [*render(sweep, parameters), *(f"--{name}={value}" for name, value in flags.items())]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (run,) = (folder / "runs").iterdir()
    return run, parameters, read_offline_run(run)


@pytest.mark.parametrize("name", NAMES)
def test_a_sweep_file_holds_what_wandb_takes(name: str) -> None:
    sweep = load(name)
    known = {"project", "name", "program", "command", "method", "run_cap", "metric", "early_terminate", "parameters"}
    assert sweep.keys() <= known
    assert sweep["method"] in ("bayes", "grid")
    assert sweep["command"].count("${args}") == 1
    assert (ROOT / sweep["command"][sweep["command"].index("--config") + 1]).is_file()
    for parameter in sweep["parameters"].values():
        assert set(parameter) in ({"value"}, {"values"}, {"distribution", "min", "max"})
        assert set(parameter) != {"distribution", "min", "max"} or sweep["method"] != "grid"
        assert all(isinstance(value, int | float) for value in choices(parameter))  # "1e-5" would be text


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_is_known_and_arrives_as_the_number_it_is(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    sweep = load(name)
    last = {key: choices(parameter)[-1] for key, parameter in sweep["parameters"].items()}
    for parameters in (next(combinations(sweep)), last):
        command = render(sweep, parameters)
        assert command[:5] == ["/usr/bin/env", "python", "-m", "qa_lightning", "fit"]
        with pytest.raises(SystemExit) as stop:
            main([*command[4:], "--print_config"])
        printed = capsys.readouterr()
        assert stop.value.code == 0, printed.err
        config = yaml.safe_load(printed.out)
        assert config["checkpoint"]["init_args"]["save_total_limit"] is None
        for key, value in parameters.items():
            assert value_of(config, key) == value
            assert type(value_of(config, key)) is type(value)


def test_a_parameter_that_is_not_known_would_be_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as stop:
        main([*render(load("seeds"), {"model.learning_rat": 1e-5})[4:], "--print_config"])
    assert stop.value.code == 2
    assert "learning_rate" in capsys.readouterr().err


def test_every_combination_of_lengths_leaves_room_for_the_context() -> None:
    tried = list(combinations(load("max_length_doc_stride")))
    assert len(tried) == 12
    for lengths in tried:
        WindowConfig(lengths["data.max_length"], lengths["data.doc_stride"], 64).check(3)
        assert lengths["data.max_length"] <= 512


@pytest.mark.slow
def test_a_run_gets_its_parameters_and_ends(finished: Run) -> None:
    run, parameters, logged = finished
    assert run.name.startswith("squad_v2_distilbert-")
    config = yaml.safe_load((run / "config.yaml").read_text())
    for key, value in parameters.items():
        assert value_of(config, key) == value
        assert value_of(logged.config, key) == value
    assert isinstance(config["model"]["init_args"]["learning_rate"], float)
    assert (run / "best_model" / "model.safetensors").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_metric_is_logged_as_often_as_the_sweep_needs(name: str, finished: Run) -> None:
    _, parameters, logged = finished
    metric = load(name)["metric"]
    assert metric["goal"] == "maximize"
    values = [row[metric["name"]] for row in logged.history if metric["name"] in row]
    assert len(values) == parameters["trainer.max_epochs"] / parameters["trainer.val_check_interval"]
    assert all(0 <= value <= 100 for value in values)

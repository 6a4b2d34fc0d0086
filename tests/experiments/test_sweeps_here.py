"""The files of ``sweeps/`` run here, with a tiny model and local data in place of the real ones."""

from __future__ import annotations

import os
import re
import shlex
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from qa_lightning.cli.main import main
from qa_lightning.runs.history import read_curves
from tests import forked, standins
from tests.conftest import ROOT
from tests.experiments.sweeps import rows_of
from tests.test_sweeps import load, render, value_of

pytestmark = pytest.mark.slow

NAMES = sorted(path.stem for path in (ROOT / "sweeps").glob("*.yaml"))


@pytest.fixture(scope="module")
def place(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the configs, the sweeps and a tiny model."""
    folder = tmp_path_factory.mktemp("sweeps")
    for name in ("configs", "sweeps"):
        (folder / name).symlink_to(ROOT / name)
    standins.save(standins.distilbert, shared, folder / "model")
    return folder


@pytest.fixture
def flags(shared: Path) -> list[str]:
    data = shared / "data"
    return [
        *("--model.model_name_or_path", "model"),
        *("--data.train_file", f"{data}/xquad.en.v2.train.json"),
        *("--data.validation_file", f"{data}/xquad.en.v2.dev.json"),
        *("--data.validation_split", "validation[:40]", "--trainer.limit_train_batches", "2"),
        *("--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"),
    ]


def start(place: Path, name: str, flags: list[str]) -> forked.Forked:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment |= {f"WANDB_{kind}_DIR": str(place / "wandb-home") for kind in ("CACHE", "CONFIG", "DATA")}
    environment.pop("WANDB_MODE", None)
    command = ["-m", "qa_lightning", "sweep", f"sweeps/{name}.yaml", "--workers", "2", "--run_cap", "2", "--", *flags]
    return forked.Forked(command, env=environment, cwd=place)


def check(place: Path, name: str) -> list[dict[str, Any]]:
    """Checks that a sweep of two trials came to its end, and returns its rows."""
    folder = place / f"runs/sweep-{name}"
    rows = rows_of(folder)
    assert len(rows) == 2
    assert "complete" in {row["state"] for row in rows} <= {"complete", "stopped"}
    assert "<h2>Trials</h2>" in (folder / "sweep.html").read_text(encoding="utf-8")
    for row in rows:
        curves = read_curves(place / row["folder"])
        assert row["values"] == curves["val/f1"][1].tolist()[: len(row["values"])]
        assert (place / row["folder"] / "best_model/model.safetensors").is_file()
        assert list((place / row["folder"]).glob("wandb/offline-run-*"))
    return rows


@pytest.mark.parametrize("name", [name for name in NAMES if name != "lr_batch_epochs"])
def test_a_sweep_runs_to_its_page(
    name: str, place: Path, flags: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with start(place, name, flags) as process:
        printed, complaints = process.communicate(500)
    assert process.returncode == 0, printed + complaints
    row = check(place, name)[0]
    parameters = {key.removeprefix("parameters."): value for key, value in row.items() if key.startswith("parameters.")}
    # The trial's config is the one that comes of the command which W&B's own code renders.
    monkeypatch.chdir(place)
    command = [*render(load(name), parameters), *flags]
    with pytest.raises(SystemExit):
        main([*command[4:], "--print_config"])
    config = yaml.safe_load((place / row["folder"] / "config.yaml").read_text())
    assert config == yaml.safe_load(capsys.readouterr().out)
    for key, value in parameters.items():
        assert value_of(config, key) == value
    # So is its command, but for the Python that runs it.
    written = yaml.safe_load((place / row["folder"] / "run.json").read_text())["commands"][0]["command"]
    assert shlex.split(written)[-len(command) + 2 :] == [*command[4:], "--run_dir", row["folder"]]
    # fit takes the best config.
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", f"runs/sweep-{name}/best.yaml", "--print_config"])
    assert stop.value.code == 0
    best = yaml.safe_load(capsys.readouterr().out)
    assert best["model"]["init_args"]["model_name_or_path"] == "model"


def test_a_killed_sweep_of_trainings_goes_on(place: Path, flags: list[str]) -> None:
    folder = place / "runs/sweep-lr_batch_epochs"
    process = start(place, "lr_batch_epochs", flags)
    until = time.monotonic() + 300
    while not list(folder.glob("trial-00*/checkpoints/best.ckpt")):
        assert time.monotonic() < until
        assert process.poll() is None, process.communicate(10)
        time.sleep(0.2)
    process.kill()
    process.communicate(60)
    with start(place, "lr_batch_epochs", flags) as process:
        printed, complaints = process.communicate(500)
    assert process.returncode == 0, printed + complaints
    assert re.search(r"trial \d goes on: ", printed)
    rows = check(place, "lr_batch_epochs")
    for row in rows:
        if row["state"] == "complete":
            assert len(row["values"]) == 2 * row["parameters.trainer.max_epochs"]

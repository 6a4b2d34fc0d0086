from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import methods
from qa_lightning.cli.main import main
from tests.experiments.processes import forked_trainings
from tests.tiny import tiny_folder
from tests.training import SETTINGS, write_long


@pytest.mark.slow
def test_methods_are_compared_with_plain_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, squad = tiny_folder(tmp_path / "model", layers=2), write_long(tmp_path / "squad.v2.json")
    arguments = ["--model", str(model), "--train", str(squad), "--validation", str(squad), "--seeds", "2"]
    arguments += ["--output", str(tmp_path / "runs"), "--set", "trainer.max_epochs=1", "trainer.accelerator=cpu"]
    arguments += [f"data.{name}={str(value).lower()}" for name, value in SETTINGS.items()]
    with forked_trainings() as begun:
        methods.main([*arguments, "--methods", "EMA"])
        assert len(begun.fits()) == 4
        methods.main([*arguments, "--methods", "EMA", "layer decay"])
        assert len(begun.fits()) == 6  # what was there is not trained again
    table = (tmp_path / "runs/methods.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in table[2:]] == ["| plain", "| EMA", "| layer decay"]
    figures = json.loads((tmp_path / "runs/methods.json").read_text())
    for method, seed in (("layer decay", 0), ("layer decay", 1)):
        metrics = json.loads((tmp_path / f"runs/layer_decay/seed-{seed}/metrics.json").read_text())
        assert figures[method]["f1"]["b"][seed] == pytest.approx(metrics["val/f1"], abs=1e-6)
    f1 = figures["EMA"]["f1"]
    assert f1["difference"] == pytest.approx(sum(f1["b"]) / 2 - sum(f1["a"]) / 2)
    assert table[0] in capsys.readouterr().out


@pytest.mark.parametrize("method", methods.METHODS)
def test_each_method_is_a_config_that_fit_takes(method: str, tmp_path: Path) -> None:
    squad = write_long(tmp_path / "squad.v2.json")
    setup = methods.Setup(str(tiny_folder(tmp_path / "model", layers=2)), squad, squad, tmp_path, (0,), SMALL)
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(setup.config(method)))
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["fit", "--config", str(config), "--run_dir", str(tmp_path / "run"), "--print_config"])


SMALL = {f"data.{name}": value for name, value in SETTINGS.items()}

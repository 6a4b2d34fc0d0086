from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from benchmarks import methods
from benchmarks.method_settings import METHODS, METHODS_WITH_NULL, OF_SEVERAL, PRETRAINING
from qa_lightning.cli.main import main
from qa_lightning.experiments.folder import ExperimentFolder
from qa_lightning.experiments.trainings import run_trainings
from qa_lightning.runs.questions import write_table
from qa_lightning.utils.errors import UserError
from tests.conftest import ROOT
from tests.experiments.processes import forked_trainings
from tests.pretraining.texts import masked_folder, write_text
from tests.runs.test_comparison import table_of
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
        methods.main([*arguments, "--methods", "EMA", "layer decay", *OF_SEVERAL, "--workers", "2"])
        assert len(begun.fits()) == 6  # what was there is not trained again
    table = (tmp_path / "runs/methods.md").read_text().splitlines()
    names = ["plain", "EMA", "layer decay", *OF_SEVERAL]
    assert [line.split(" | ")[0] for line in table[2:]] == [f"| {name}" for name in names]
    figures = json.loads((tmp_path / "runs/methods.json").read_text())
    for method, seed in (("layer decay", 0), ("layer decay", 1)):
        metrics = json.loads((tmp_path / f"runs/layer_decay/seed-{seed}/metrics.json").read_text())
        assert figures[method]["f1"]["b"][seed] == pytest.approx(metrics["val/f1"], abs=1e-6)
    # Two runs make the same ensemble, whichever is first; what it answers is scored as plain runs are.
    ensembles = figures["ensemble of two"]["f1"]
    assert ensembles["b"][0] == ensembles["b"][1]
    assert ensembles["a"] == figures["EMA"]["f1"]["a"]
    score = ["score", "--model", str(tmp_path / "runs/ensemble_of_two/seed-0/best_model"), "--data", str(squad)]
    assert main([*score, "--output", str(tmp_path / "scores.json")]) == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert ensembles["b"][0] == pytest.approx(scores["f1"], abs=1e-6)
    f1 = figures["EMA"]["f1"]
    assert f1["difference"] == pytest.approx(sum(f1["b"]) / 2 - sum(f1["a"]) / 2)
    assert table[0] in capsys.readouterr().out


@pytest.mark.slow
def test_a_method_may_begin_with_the_contexts(tmp_path: Path) -> None:
    model, squad = masked_folder(tmp_path / "model"), tmp_path / "squad.v2.json"
    texts = write_text(tmp_path / "texts.txt", documents=3).read_text().strip().split("\n\n")
    answers = [{"text": [text.split()[0]], "answer_start": [0]} for text in texts]
    rows = [
        {"id": str(row), "question": "what?", "context": text, "answers": answer}
        for row, (text, answer) in enumerate(zip(texts, answers, strict=True))
    ]
    squad.write_text(json.dumps({"data": rows}))
    settings = {**SMALL, "data.max_length": 48, "trainer.max_epochs": 1, "trainer.accelerator": "cpu"}
    setup = methods.Setup(str(model), squad, squad, tmp_path / "runs", (0, 1), settings)
    experiment = ExperimentFolder(setup.output, "methods")
    with forked_trainings() as begun, experiment.at_work({}):
        for _ in range(2):
            for trainings in methods.trainings_of(setup, list(PRETRAINING)):
                run_trainings(experiment, trainings)
            # All seeds begin with the same training on text, and nothing is done again.
            assert begun.fits() == ["seed-0", "seed-1", "on-contexts", "on-contexts", *2 * ["seed-0", "seed-1"]]
    for method in PRETRAINING:
        for seed in setup.seeds:
            config = (setup.run(method, seed).path / "config.yaml").read_text()
            assert f"model_name_or_path: {setup.pretraining(method).best_model}\n" in config


def test_trainings_cannot_change_how_many_gpus_they_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    arguments = ["--model", "model", "--train", "a.json", "--added", "b.json", "--output", str(tmp_path)]
    begun = {"model": "model", "train": "a.json", "added": "b.json", "GPUs of a training": "all"}
    with ExperimentFolder(tmp_path, "methods").at_work(begun):
        pass
    with pytest.raises(UserError, match="GPUs of a training"):
        methods.main([*arguments, "--workers", "2"])
    with pytest.raises(UserError, match=r"each training one GPU, but trainer\.devices is 2"):
        methods.main([*arguments, "--workers", "2", "--set", "trainer.devices=2"])


def test_seeds_that_share_runs_are_not_tested_as_if_they_were_independent(tmp_path: Path) -> None:
    setup = methods.Setup("model", tmp_path / "a.json", tmp_path / "b.json", tmp_path, (0, 1, 2), {})
    for better, method in enumerate(("plain", "EMA", "soup of two")):
        for seed in setup.seeds:
            scores = [10.0 * better + seed, 50.0 + 2 * seed]
            write_table(setup.run(method, seed).questions, table_of(scores, [0, 1]))
    assert methods.comparison_with_plain(setup, "EMA").differences["f1"].p_over_seeds is not None
    found = methods.comparison_with_plain(setup, "soup of two").differences["f1"]
    assert (found.difference, found.p_over_seeds, found.interval_over_runs) == (10.0, None, None)


def test_plain_runs_are_the_teachers(tmp_path: Path) -> None:
    setup = methods.Setup("model", tmp_path / "a.json", tmp_path / "b.json", tmp_path, (0, 1), {})
    teachers = setup.config("distillation of plain runs")["model"]["teacher"]["model_name_or_path"]
    assert teachers == [str(tmp_path / f"plain/seed-{seed}/best_model") for seed in (0, 1)]


def test_what_others_learn_from_or_begin_with_is_trained_first(tmp_path: Path) -> None:
    setup = methods.Setup("model", tmp_path / "a.json", tmp_path / "b.json", tmp_path, (0, 1), {})
    named = ["EMA", "strong, distilled", "strong", "soup of two"]
    needed, others = ([training.name for training in part] for part in methods.trainings_of(setup, named))
    assert needed == ["plain-seed-0", "plain-seed-1", "strong-seed-0", "strong-seed-1"]
    assert others == ["EMA-seed-0", "EMA-seed-1", "strong+distilled-seed-0", "strong+distilled-seed-1"]
    teachers = setup.config("strong, distilled")["model"]["teacher"]["model_name_or_path"]
    assert teachers == [str(tmp_path / f"strong/seed-{seed}/best_model") for seed in (0, 1)]


def test_the_strong_recipe_is_the_row_of_its_name(tmp_path: Path) -> None:
    row = methods.Setup("model", tmp_path / "a.json", tmp_path / "a.json", tmp_path, (0,), {}).config("strong")
    recipe = yaml.safe_load((ROOT / "configs/recipes/strong.yaml").read_text(encoding="utf-8"))
    # What the benchmark's runs have besides: what is trained, on what, and that it is quiet.
    for section, names in {
        "model": ["model_name_or_path"],
        "data": ["train_file", "validation_file", "version_2_with_negative"],
        "trainer": ["enable_model_summary", "enable_progress_bar", "logger", "num_sanity_val_steps"],
    }.items():
        for name in names:
            del row[section][name]
    assert recipe.pop("seed_everything") == 42
    assert recipe["trainer"].pop("devices") == 1  # the benchmark's too, on a CPU or one GPU
    assert recipe == row


@pytest.mark.parametrize(("data", "null_windows"), [("squad.json", 0.01), ("squad.v2.json", 0.2)])
def test_unanswerable_questions_may_change_a_row(data: str, null_windows: float, tmp_path: Path) -> None:
    setup = methods.Setup("model", tmp_path / data, tmp_path / data, tmp_path, (0,), {})
    for method in ("layer decay, EMA, null windows", "strong, null windows"):
        assert setup.config(method)["data"]["null_windows"] == null_windows
    assert setup.config("null windows")["data"]["null_windows"] == 0.2  # who names it wants it


def test_mixing_adds_a_file_to_the_one_to_train_on(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("own.json", "dev.json", "added.json")]
    data = methods.Setup("model", *files[:2], tmp_path, (0,), {}, files[2]).config("mixing")["data"]
    assert data["train_file"] is None
    assert data["train_sets"] == {"own": {"file": str(files[0])}, "added": {"file": str(files[2])}}


@pytest.mark.parametrize("method", {**METHODS, **METHODS_WITH_NULL})
def test_each_method_is_a_config_that_fit_takes(method: str, tmp_path: Path) -> None:
    squad = write_long(tmp_path / "squad.v2.json")
    setup = methods.Setup(str(tiny_folder(tmp_path / "model", layers=2)), squad, squad, tmp_path, (0,), SMALL, squad)
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(setup.config(method)))
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["fit", "--config", str(config), "--run_dir", str(tmp_path / "run"), "--print_config"])


SMALL = {f"data.{name}": value for name, value in SETTINGS.items()}

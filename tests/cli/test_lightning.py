"""Whole commands on tiny data: what a user types, and what is there afterwards."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
import yaml

from qa_lightning import Reader
from qa_lightning.cli.main import main
from qa_lightning.cli.overview import TRAINER_VERBS, VERBS
from qa_lightning.data.datamodule import QADataModule
from qa_lightning.modeling.module import QALightningModule
from qa_lightning.runs.questions import read_questions
from tests.tiny import PASSAGES, SQUAD, fit_arguments, tiny_folder, write_squad


class OtherModule(QALightningModule):
    """A module that a researcher swaps in."""

    def __init__(self, temperature: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.temperature = temperature


class OtherData(QADataModule):
    """A data module that a researcher swaps in."""


class Marker(pl.Callback):
    """A callback that a researcher adds."""

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leaves a mark."""
        Path(trainer.default_root_dir, "marked").touch()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_folder(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("data")
    return {
        "v1": str(write_squad(folder / "v1.json", copies=4)),
        "v2": str(write_squad(folder / "v2.json", copies=4, impossible=True)),
    }


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, model: str, files: dict[str, str]) -> Path:
    """The folder of a run on data with unanswerable questions, two epochs long; tests must not write into it."""
    run = tmp_path_factory.mktemp("finished") / "run"
    arguments = [*fit_arguments(model, files["v2"], files["v2"]), "--data.version_2_with_negative", "true"]
    assert main([*arguments, "--trainer.max_epochs", "2", "--model.learning_rate", "1e-2", "--run_dir", str(run)]) == 0
    return run


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_run_leaves_what_it_promises(finished: Path, files: dict[str, str]) -> None:
    kept = {
        *("config.yaml", "data.json", "run.json", "logs", "checkpoints", "best_model"),
        *("metrics.json", "predictions.json", "nbest_predictions.json", "null_odds.json", "na_prob.json"),
        "per_question.parquet",
    }
    assert {path.name for path in finished.iterdir()} == kept
    assert {path.name for path in (finished / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert {"config.json", "model.safetensors", "tokenizer.json", "qa_lightning.json"} <= {
        path.name for path in (finished / "best_model").iterdir()
    }
    ids = [qa["id"] for p in read(Path(files["v2"]))["data"][0]["paragraphs"] for qa in p["qas"]]
    for name in ("predictions", "nbest_predictions", "null_odds", "na_prob"):
        assert list(read(finished / f"{name}.json")) == ids
    metrics = read(finished / "metrics.json")
    assert {"val/exact_match", "val/f1", "val/loss", "val/HasAns_f1", "val/NoAns_f1", "val/best_f1"} <= set(metrics)
    info = read(finished / "run.json")
    (command,) = info["commands"]
    assert command["command"].startswith("python -m qa_lightning fit --model.model_name_or_path ")
    changed = info["changed_settings"]
    assert changed["trainer"]["max_epochs"] == 2
    assert "min_epochs" not in changed["trainer"]
    assert changed["model"]["init_args"]["learning_rate"] == 0.01
    assert changed["data"]["init_args"]["validation_file"] == files["v2"]


def test_validating_the_best_checkpoint_repeats_the_scores_of_its_epoch(run: Path) -> None:
    assert main(["validate", "--run_dir", str(run), "--ckpt_path", "best"]) == 0
    fitted, validated = read(run / "metrics.json"), read(run / "validate/metrics.json")
    assert validated == fitted  # and epoch and step
    assert validated["step"] > 0
    for name in ("predictions", "nbest_predictions", "null_odds", "na_prob"):
        assert read(run / f"validate/{name}.json") == read(run / f"{name}.json")
    assert read_questions(run / "validate").equals(read_questions(run))


def _answers_at(folder: Path, threshold: float) -> bool:
    """Whether exactly the questions whose null odds exceed a threshold were left unanswered."""
    odds, texts = read(folder / "null_odds.json"), read(folder / "predictions.json")
    return all((texts[id_] == "") == (odds[id_] > threshold) for id_ in odds)


def test_the_best_threshold_is_kept_and_used_on_other_data(
    run: Path, files: dict[str, str], here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    metrics = read(run / "metrics.json")
    tuned = metrics["val/best_f1_thresh"]
    assert tuned != 0
    assert metrics["val/null_score_diff_threshold"] == 0
    assert metrics["val/best_f1"] > metrics["val/f1"]
    assert read(run / "best_model/qa_lightning.json")["null_score_diff_threshold"] == tuned

    test = ["--data.test_file", files["v2"]]
    assert main(["test", "--run_dir", str(run), *test]) == 0
    held_out = read(run / "test/metrics.json")
    assert held_out["test/null_score_diff_threshold"] == tuned
    assert held_out["test/f1"] == pytest.approx(metrics["val/best_f1"])  # it is the same data here
    shown = capsys.readouterr().out.splitlines()
    assert any("test/f1" in line and f"{tuned:.2f}" in line for line in shown)
    assert any("test/best_f1" in line and "tuned here" in line for line in shown)
    assert main(["predict", "--run_dir", str(run), "--data.predict_file", files["v2"]]) == 0
    assert _answers_at(run / "predict", tuned)

    assert main(["test", "--run_dir", str(run), *test, "--model.null_score_diff_threshold", "-3"]) == 0
    assert read(run / "test/metrics.json")["test/null_score_diff_threshold"] == -3
    assert _answers_at(run / "test", -3)

    # Validation and training go on at the threshold that the training had; the saved model is used at its own.
    assert main(["validate", "--run_dir", str(run)]) == 0
    assert read(run / "validate/metrics.json")["val/null_score_diff_threshold"] == 0
    assert main(["fit", "--run_dir", str(run), "--ckpt_path", "last", "--trainer.max_epochs", "3"]) == 0
    checkpoint = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["qa_lightning"]
    assert checkpoint["validation_threshold"] == 0
    assert main(["validate", "--model.model_name_or_path", str(run / "best_model"), *_v2(files)]) == 0
    (fresh,) = here.glob("runs/*/validate")
    stored = read(run / "best_model/qa_lightning.json")["null_score_diff_threshold"]
    assert read(fresh / "metrics.json")["val/null_score_diff_threshold"] == stored


def test_predict_answers_a_question_from_all_contexts_that_it_is_asked_of(run: Path, tmp_path: Path) -> None:
    contexts = {"ada": PASSAGES[0][0], "grace": PASSAGES[1][0], "both": f"{PASSAGES[1][0]} {PASSAGES[0][0]}"}
    questions = ["Who wrote the program?", "When?"]
    rows = [
        {"id": f"{name}-{number}", "question": question, "context": context}
        for name, context in contexts.items()
        for number, question in enumerate(questions)
    ]
    (tmp_path / "many.json").write_text(json.dumps(rows))
    predict = ["predict", "--run_dir", str(run), "--data.predict_file", str(tmp_path / "many.json")]
    assert main([*predict, "--results.by_question", "true"]) == 0
    file = run / "predict/answers_by_question.jsonl"
    found = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert [line.pop("question") for line in found] == questions
    assert len(read(run / "predict/predictions.json")) == len(rows)
    reader = Reader.from_pretrained(run / "best_model")
    for number, (question, line) in enumerate(zip(questions, found, strict=True)):
        named = {f"{name}-{number}": context for name, context in contexts.items()}
        answer = reader(question=question, contexts=named)
        assert line["score"] == pytest.approx(answer["score"], abs=1e-4)
        for name in ("answer", "document", "start", "end"):
            assert line[name] == answer[name]
        assert [place["document"] for place in line["places"]] == [place["document"] for place in answer["places"]]
    # Unless it is asked for, there is none, also of an earlier one.
    assert main(predict) == 0
    assert not file.exists()


def test_a_threshold_that_was_given_is_not_tuned(here: Path, model: str, files: dict[str, str]) -> None:
    arguments = [*fit_arguments(model, files["v2"], files["v2"]), "--data.version_2_with_negative", "true"]
    assert main([*arguments, "--model.null_score_diff_threshold", "1.5", "--run_dir", "run"]) == 0
    assert read(here / "run/metrics.json")["val/best_f1_thresh"] != 1.5
    assert read(here / "run/best_model/qa_lightning.json")["null_score_diff_threshold"] == 1.5
    assert main(["test", "--run_dir", "run", "--data.test_file", files["v2"]]) == 0
    assert read(here / "run/test/metrics.json")["test/null_score_diff_threshold"] == 1.5


def test_a_checkpoint_needs_neither_its_model_nor_its_tokenizer(
    here: Path, files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_folder(here / "model")
    assert main([*fit_arguments(str(folder), files["v1"], files["v1"]), "--run_dir", "run"]) == 0
    shutil.rmtree(folder)
    assert main(["validate", "--run_dir", "run", "--ckpt_path", "last"]) == 0
    assert read(here / "run/validate/predictions.json") == read(here / "run/predictions.json")
    shutil.rmtree(here / "run/validate")
    (here / "run/config.yaml").unlink()
    checkpoint = ["--ckpt_path", "run/checkpoints/best.ckpt", "--data.validation_file", files["v1"]]
    assert main(["validate", *checkpoint, "--run_dir", "elsewhere"]) == 2
    assert main(["validate", *checkpoint]) == 0
    (alone,) = here.glob("runs/*/validate/predictions.json")
    assert read(alone) == read(here / "run/predictions.json")


def test_training_goes_on_in_its_folder(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    config = (run / "config.yaml").read_text(encoding="utf-8")
    assert main(["fit", "--run_dir", str(run), "--ckpt_path", "last", "--trainer.max_epochs", "3"]) == 0
    after = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    assert after["epoch"] == before["epoch"] + 1
    assert after["global_step"] == before["global_step"] // 2 * 3
    assert (run / "config.yaml").read_text(encoding="utf-8") == config
    began, went_on = read(run / "run.json")["commands"]
    assert "--ckpt_path" not in began["command"]
    assert went_on["command"].endswith(" --ckpt_path last --trainer.max_epochs 3")


def test_predicting_answers_questions_without_golds(run: Path, tmp_path: Path) -> None:
    questions = tmp_path / "questions.jsonl"
    questions.write_text(json.dumps({"question": "Who wrote?", "context": "Ada wrote the program."}), encoding="utf-8")
    assert main(["predict", "--run_dir", str(run), "--data.predict_file", str(questions)]) == 0
    (answer,) = read(run / "predict/predictions.json").values()
    assert answer in ("", *_spans("Ada wrote the program."))
    assert not (run / "predict/metrics.json").exists()


def test_a_reader_answers_what_the_run_predicts(run: Path, files: dict[str, str]) -> None:
    assert main(["predict", "--run_dir", str(run), "--data.predict_file", files["v2"]]) == 0
    predicted = read(run / "predict/predictions.json")
    asked = {
        qa["id"]: {"question": qa["question"], "context": paragraph["context"]}
        for article in read(Path(files["v2"]))["data"]
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
    }
    assert len(set(predicted.values())) > 1
    for model in (run, run / "best_model", run / "checkpoints/best.ckpt"):
        answers = Reader.from_pretrained(model)(list(asked.values()))
        assert {name: answer["answer"] for name, answer in zip(asked, answers, strict=True)} == predicted


def _spans(text: str) -> list[str]:
    return [text[a:b] for a in range(len(text)) for b in range(a + 1, len(text) + 1)]


def test_testing_scores_under_its_own_name(run: Path, files: dict[str, str]) -> None:
    assert main(["test", "--run_dir", str(run), "--data.test_file", files["v2"]]) == 0
    # The threshold that was tuned on these questions is used on these questions.
    assert read(run / "test/metrics.json")["test/f1"] == read(run / "metrics.json")["val/best_f1"]


def test_a_second_round_starts_from_the_saved_model(run: Path, here: Path, files: dict[str, str]) -> None:
    for source in (run / "best_model", run / "checkpoints/best.ckpt"):
        assert main(["validate", "--model.model_name_or_path", str(source), *_v2(files), "--run_dir", "x"]) == 2
        assert main(["validate", "--model.model_name_or_path", str(source), *_v2(files)]) == 0
        (metrics,) = here.glob("runs/*/validate/metrics.json")
        assert read(metrics)["val/f1"] == read(run / "metrics.json")["val/best_f1"]
        shutil.rmtree(here / "runs")
        arguments = [*fit_arguments(str(source), files["v2"], files["v2"]), *_v2(files)]
        assert main([*arguments, "--run_dir", f"from-{source.name}"]) == 0


def _v2(files: dict[str, str]) -> list[str]:
    return ["--data.validation_file", files["v2"], "--data.version_2_with_negative", "true", *SQUAD]


@pytest.mark.parametrize(
    ("flags", "config", "expected"),
    [
        ([], "", 7.5),
        ([], "model:\n  null_score_diff_threshold: 3.0\n", 3.0),
        (["--model.null_score_diff_threshold", "-2.0"], "model:\n  null_score_diff_threshold: 3.0\n", -2.0),
    ],
)
def test_a_flag_beats_a_config_beats_the_checkpoint(
    here: Path, model: str, files: dict[str, str], flags: list[str], config: str, expected: float
) -> None:
    """The checkpoint was made with a threshold of 7.5, the default is 0."""
    first = [*fit_arguments(model, files["v2"], files["v2"]), "--data.version_2_with_negative", "true"]
    assert main([*first, "--model.null_score_diff_threshold", "7.5", "--run_dir", "first"]) == 0
    (here / "config.yaml").write_text(config or "{}", encoding="utf-8")
    for source in (["--ckpt_path", "first/checkpoints/best.ckpt"], ["--model.model_name_or_path", "first/best_model"]):
        arguments = ["validate", *source, *_v2(files), "--config", "config.yaml", *flags]
        assert main(arguments) == 0
        (folder,) = here.glob("runs/*/validate")
        odds, texts = (read(folder / f"{name}.json") for name in ("null_odds", "predictions"))
        assert {id_: text == "" for id_, text in texts.items()} == {id_: odd > expected for id_, odd in odds.items()}
        shutil.rmtree(here / "runs")


def test_every_run_gets_its_own_folder(here: Path, model: str, files: dict[str, str]) -> None:
    for _ in range(2):
        assert main(fit_arguments(model, files["v1"], files["v1"])) == 0
    assert len(list(here.glob("runs/fit-*/metrics.json"))) == 2


def test_runs_go_below_the_root_that_is_given(here: Path, model: str, files: dict[str, str]) -> None:
    arguments = [*fit_arguments(model, files["v1"], files["v1"]), "--trainer.limit_train_batches", "1"]
    arguments += ["--trainer.default_root_dir", "mine/deep"]
    assert main(arguments) == 0
    (run,) = here.glob("mine/deep/fit-*/metrics.json")
    assert main([*arguments, "--run_dir", "named"]) == 0
    assert Path("named/metrics.json").is_file()
    assert len(list(here.glob("mine/deep/*"))) == 1
    assert main(["validate", "--run_dir", str(run.parent)]) == 0
    assert (run.parent / "validate/metrics.json").is_file()
    assert not Path("runs").exists()
    assert yaml.safe_load((run.parent / "config.yaml").read_text())["trainer"]["default_root_dir"] == "mine/deep"


@pytest.mark.parametrize("root", ["s3://bucket/runs", "file/below"])
def test_a_root_where_no_run_can_be_kept(
    here: Path, model: str, files: dict[str, str], root: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("file").touch()
    assert main([*fit_arguments(model, files["v1"], files["v1"]), "--trainer.default_root_dir", root]) != 0
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert root in line
    assert sorted(path.name for path in here.iterdir()) == ["file"]


def test_without_validation_the_last_model_is_kept(here: Path, model: str, files: dict[str, str]) -> None:
    arguments = fit_arguments(model, files["v1"], "unused")
    at = arguments.index("--data.validation_file")
    assert main([*arguments[:at], *arguments[at + 2 :], "--run_dir", "run"]) == 0
    assert (here / "run/checkpoints/last.ckpt").is_file()
    assert (here / "run/best_model/model.safetensors").is_file()


def test_several_validation_sets_have_their_own_scores_and_files(here: Path, model: str, files: dict[str, str]) -> None:
    sets = f"{{a: {files['v1']}, b: {files['v2']}}}"
    arguments = [*fit_arguments(model, files["v1"], files["v1"]), "--data.validation_file", sets]
    assert main([*arguments, "--data.version_2_with_negative", "true", "--run_dir", "run"]) == 0
    metrics = read(here / "run/metrics.json")
    assert metrics["val/a/total"] == 24
    assert metrics["val/b/total"] == 36
    assert len(read(here / "run/a/predictions.json")) == 24
    assert len(read(here / "run/b/predictions.json")) == 36


def test_several_test_sets_have_their_own_scores_and_files(
    run: Path, files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    sets = f"{{a: {files['v1']}, b: [{files['v2']}]}}"
    languages = ["--model.language", "{a: en, b: de}"]
    assert main(["test", "--run_dir", str(run), "--data.test_file", sets, *languages]) == 0
    metrics = read(run / "test/metrics.json")
    assert metrics["test/a/total"] == 24
    assert metrics["test/b/total"] == 36
    for name, total in (("a", 24), ("b", 36)):
        assert len(read(run / "test" / name / "predictions.json")) == total
        assert (run / "test" / name / "per_question.parquet").is_file()
        assert (
            main(
                [
                    "score",
                    "--data",
                    files[f"v{1 + (name == 'b')}"],
                    "--predictions",
                    str(run / "test" / name / "predictions.json"),
                    "--language",
                    {"a": "en", "b": "de"}[name],
                ]
            )
            == 0
        )
        assert f"{metrics[f'test/{name}/f1']:.2f}" in capsys.readouterr().out
    assert metrics["test/a/f1"] != metrics["test/b/f1"]
    (log,) = (run / "test").glob("logs/**/metrics.csv")
    with log.open(encoding="utf-8") as stream:
        (logged,) = csv.DictReader(stream)
    assert float(logged["test/f1"]) == float(logged["test/a/f1"]) == pytest.approx(metrics["test/a/f1"])
    assert float(logged["test/b/f1"]) == pytest.approx(metrics["test/b/f1"])
    assert main(["test", "--run_dir", str(run), "--data.test_file", files["v1"]]) == 0
    assert not (run / "test" / "a").exists()


def test_several_sets_of_questions_have_their_own_answers(run: Path, files: dict[str, str]) -> None:
    sets = f"{{a: {files['v1']}, b: {files['v2']}}}"
    assert main(["predict", "--run_dir", str(run), "--data.predict_file", sets]) == 0
    a, b = (read(run / "predict" / name / "predictions.json") for name in "ab")
    assert (len(a), len(b)) == (24, 36)
    assert a.items() <= b.items()


def test_a_set_without_its_language_is_named(
    run: Path, files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["test", "--run_dir", str(run), "--model.language", "{vi: vi}", "--data.test_file"]
    for sets, which in ((files["v1"], "an evaluation set without a name"), (f"{{x: {files['v1']}}}", "set 'x'")):
        assert main([*arguments, sets]) != 0
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert "model.language has no language for " in line
        assert which in line


def test_everything_can_be_swapped_from_yaml(here: Path, model: str, files: dict[str, str]) -> None:
    config = {
        "model": {
            "class_path": "tests.cli.test_lightning.OtherModule",
            "init_args": {
                "temperature": 2.0,
                "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.25}},
                "lr_scheduler": {"class_path": "torch.optim.lr_scheduler.StepLR", "init_args": {"step_size": 1}},
            },
        },
        "data": {"class_path": "tests.cli.test_lightning.OtherData"},
        "trainer": {
            "callbacks": [{"class_path": "tests.cli.test_lightning.Marker"}],
            "logger": {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": "mine"}},
        },
    }
    Path("swap.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    arguments = ["fit", "--config", "swap.yaml", *fit_arguments(model, files["v1"], files["v1"])[1:]]
    assert main([*arguments, "--model.weight_decay", "0.5", "--run_dir", "run"]) == 0
    assert (here / "run/marked").exists()
    assert list(here.glob("mine/**/metrics.csv"))
    assert list(here.glob("run/logs/**/metrics.csv"))  # the report needs it, whatever else there is
    state = torch.load(here / "run/checkpoints/last.ckpt", weights_only=True)
    groups = state["optimizer_states"][0]["param_groups"]
    assert "momentum" in groups[0]
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0]
    assert state["hyper_parameters"]["_class_path"] == "tests.cli.test_lightning.OtherModule"
    assert main(["validate", "--run_dir", "run", "--ckpt_path", "best"]) == 0


def test_shared_values_are_stated_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["fit", "--data.max_length", "99", "--model.model_name_or_path", "m", "--print_config"])
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["data"]["init_args"]["max_length"] == 99
    assert "max_length" not in printed["model"]["init_args"]
    assert "model_name_or_path" not in printed["data"]["init_args"]


def test_early_stopping_watches_the_score_and_is_said(
    here: Path,
    model: str,
    files: dict[str, str],
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    arguments = [*fit_arguments(model, files["v1"], files["v1"]), "--model.learning_rate", "0"]
    assert main([*arguments, "--trainer.max_epochs", "9", "--early_stopping_patience", "2", "--run_dir", "run"]) == 0
    assert torch.load(here / "run/checkpoints/last.ckpt", weights_only=True)["epoch"] == 2
    said = capfd.readouterr()
    assert said.out.count("Training ends after step") == 1
    assert "early stopping: val/f1 has not been better than" in said.out
    assert "for 2 validations (patience 2)" in said.out
    for advertisement in ("litlogger", "litmodels", "TPU", "v_num"):
        assert advertisement not in said.out + said.err + caplog.text


def test_the_end_of_a_run_shows_scores_answers_and_place(
    here: Path, model: str, files: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*fit_arguments(model, files["v1"], files["v1"]), "--run_dir", "run"]) == 0
    shown = capsys.readouterr().out
    assert "val/f1" in shown
    assert "Who wrote the program?" in shown
    assert "Where the time went" in shown
    assert "Everything is in run\n" in shown


def test_lightnings_profilers_can_be_used(here: Path, model: str, files: dict[str, str], capfd: Any) -> None:
    arguments = [*fit_arguments(model, files["v1"], files["v1"]), "--trainer.profiler.class_path", "SimpleProfiler"]
    options = ["--trainer.profiler.init_args.dirpath", "run", "--trainer.profiler.init_args.filename", "profile"]
    assert main([*arguments, *options, "--run_dir", "run"]) == 0
    assert "QALightningModule.optimizer_step" in (here / "run/fit-profile.txt").read_text()
    assert "Where the time went" not in capfd.readouterr().out


@pytest.mark.parametrize("verb", [*TRAINER_VERBS, *VERBS])
def test_every_verb_lists_its_options(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main([verb, "--help"])
    except SystemExit as stopped:  # as argparse does
        status = int(stopped.code or 0)
    assert status == 0
    assert f"python -m qa_lightning {verb}" in capsys.readouterr().out

"""Which evaluation's files, model and answers are kept, and what stands in them."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.loggers import WandbLogger
from transformers import AutoModelForQuestionAnswering

from qa_lightning.callbacks.checkpoint import RunCheckpoint
from qa_lightning.callbacks.results import Results
from qa_lightning.cli.main import main
from qa_lightning.modeling.module import QALightningModule
from qa_lightning.runs.folder import QUESTIONS
from qa_lightning.runs.questions import read_questions, read_table
from qa_lightning.utils.errors import UserError
from tests.training import make_data, make_module, make_trainer, script_scores, trains, write_long

pytestmark = trains

FILES = ["data.json", "metrics.json", "na_prob.json", "nbest_predictions.json", "null_odds.json", "predictions.json"]


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def json_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.json"))


def fit(
    model: Path, squad: Path, run: Path, *callbacks: pl.Callback, f1: tuple[float, ...] = (), **options: Any
) -> tuple[QALightningModule, pl.Trainer]:
    """Trains with a rate that makes every epoch's answers differ."""
    pl.seed_everything(0, verbose=False)
    module = make_module(model, learning_rate=0.02)
    if f1:
        script_scores(module, *f1)
    data = make_data(model, train=squad, validation_file=str(squad))
    path = options.pop("resume", None)
    trainer = make_trainer(run, *(callbacks or (Results(),)), **{"max_epochs": len(f1) or 1} | options)
    trainer.fit(module, data, ckpt_path=path, weights_only=True)
    return module, trainer


class Epochs(pl.Callback):
    """Keeps the weights and the answers of every validation."""

    def __init__(self) -> None:
        self.weights: list[torch.Tensor] = []
        self.predictions: list[dict[str, str]] = []
        self.null_odds: list[dict[str, float]] = []

    def on_validation_batch_end(self, trainer: pl.Trainer, pl_module: Any, outputs: Any, *_: Any) -> None:
        if trainer.sanity_checking:
            return
        if len(self.predictions) == len(self.weights):
            self.predictions.append({})
            self.null_odds.append({})
        self.predictions[-1] |= {prediction.question.id: prediction.text for prediction in outputs["predictions"]}
        self.null_odds[-1] |= {prediction.question.id: prediction.null_odds for prediction in outputs["predictions"]}

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        if not trainer.sanity_checking:
            self.weights.append(pl_module.model.qa_outputs.weight.detach().clone())


def saved_weight(run: Path) -> torch.Tensor:
    return AutoModelForQuestionAnswering.from_pretrained(run / "best_model").qa_outputs.weight


# Which evaluation is kept


@pytest.mark.parametrize(
    ("mode", "f1", "best"),
    [
        ("max", (10.0, 30.0, 20.0), 1),
        ("max", (30.0, 20.0, 10.0), 0),
        ("max", (20.0, 20.0, 20.0), 0),  # of equals, the first
        ("max", (10.0, 20.0, 30.0), 2),
        ("min", (20.0, 10.0, 30.0), 1),
    ],
)
def test_the_files_are_those_of_the_best_epoch(
    model: Path, squad: Path, run: Path, mode: str, f1: tuple[float, ...], best: int
) -> None:
    epochs = Epochs()
    fit(model, squad, run, Results(mode=mode), epochs, f1=f1)
    assert json_files(run) == FILES
    metrics = read(run / "metrics.json")
    assert metrics["val/f1"] == f1[best]
    assert metrics["epoch"] == best
    assert metrics["step"] == 5 * (best + 1)
    assert read(run / "predictions.json") == epochs.predictions[best]
    assert torch.equal(saved_weight(run), epochs.weights[best])
    assert read(run / "null_odds.json") == epochs.null_odds[best]
    assert len({json.dumps(odds) for odds in epochs.null_odds}) == 3  # else this would show little


def test_the_files_belong_to_the_best_checkpoint(model: Path, squad: Path, run: Path) -> None:
    fit(model, squad, run, Results(), RunCheckpoint(), f1=(10.0, 20.0, 20.0))
    checkpoint = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    assert torch.equal(checkpoint["state_dict"]["model.qa_outputs.weight"], saved_weight(run))
    assert read(run / "metrics.json")["step"] == checkpoint["global_step"]


def test_another_score_can_be_watched(model: Path, squad: Path, run: Path) -> None:
    epochs = Epochs()
    module, _ = fit(model, squad, run, Results("val/loss", "min"), epochs, f1=(90.0, 10.0))
    assert read(run / "metrics.json")["val/f1"] == 10.0  # training made the loss smaller
    assert read(run / "metrics.json")["val/loss"] == module.scores[""]["loss"]


@pytest.mark.parametrize(("later", "kept"), [(20.0, 30.0), (40.0, 40.0), (30.0, 30.0)])
def test_training_that_goes_on_knows_the_best_score(
    model: Path, squad: Path, run: Path, later: float, kept: float
) -> None:
    fit(model, squad, run, Results(), RunCheckpoint(), f1=(30.0, 10.0))
    last = run / "checkpoints" / "last.ckpt"
    fit(model, squad, run, Results(), RunCheckpoint(), f1=(later,), max_epochs=3, resume=last)
    assert read(run / "metrics.json")["val/f1"] == kept
    assert read(run / "metrics.json")["epoch"] == (2 if later > 30 else 0)


def test_training_that_goes_on_elsewhere_has_files_of_its_own(model: Path, squad: Path, run: Path) -> None:
    fit(model, squad, run, Results(), RunCheckpoint(), f1=(30.0, 10.0))
    last, other = run / "checkpoints" / "last.ckpt", run.with_name("other")
    fit(model, squad, other, Results(), RunCheckpoint(), f1=(20.0,), max_epochs=3, resume=last)
    assert read(other / "metrics.json")["val/f1"] == 20.0
    assert (other / "best_model" / "model.safetensors").is_file()
    assert read(run / "metrics.json")["val/f1"] == 30.0


def test_the_sanity_check_writes_nothing(model: Path, squad: Path, run: Path) -> None:
    class After(pl.Callback):
        def on_sanity_check_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            assert trainer.num_sanity_val_batches
            assert not run.exists()

    fit(model, squad, run, Results(), After(), f1=(10.0,), num_sanity_val_steps=1)
    assert len(read(run / "predictions.json")) == 7


def test_without_validation_the_last_model_is_kept(model: Path, squad: Path, run: Path) -> None:
    module = make_module(model, learning_rate=0.02)
    trainer = make_trainer(run, Results(), max_epochs=2)
    trainer.fit(module, make_data(model, train=squad))
    assert sorted(path.name for path in run.iterdir()) == ["best_model", "config.yaml", "data.json"]
    assert torch.equal(saved_weight(run), module.model.qa_outputs.weight)
    results = next(callback for callback in trainer.callbacks if isinstance(callback, Results))
    results.show()  # nothing, and no error


# What stands in the files


def test_a_validation_writes_its_figures_in_full(model: Path, squad: Path, run: Path) -> None:
    module = make_module(model, n_best_size=3)
    data = make_data(model, validation_file=str(squad), eval_batch_size=3)
    make_trainer(run, Results()).validate(module, data, verbose=False)
    assert json_files(run) == FILES
    assert not (run / "best_model").exists()
    metrics = {key.removeprefix("val/"): value for key, value in read(run / "metrics.json").items()}
    assert module.scores[""].items() <= metrics.items()
    assert metrics.keys() - module.scores[""] == {
        *("exact_match_ci95", "f1_ci95"),  # no epoch and step: the weights are not a checkpoint's
        *("HasAns_exact_ci95", "HasAns_f1_ci95", "NoAns_exact_ci95", "NoAns_f1_ci95"),
    }
    ids = [qa["id"] for qa in read(squad)["data"][0]["paragraphs"][0]["qas"]]
    for name in ("predictions", "nbest_predictions", "null_odds"):
        assert list(read(run / f"{name}.json")) == ids  # in the data's order
    for name, answers in read(run / "nbest_predictions.json").items():
        assert set(answers[0]) == {"text", "start_logit", "end_logit", "probability"}
        assert sum(answer["probability"] for answer in answers) == pytest.approx(1)
        assert read(run / "predictions.json")[name] in [answer["text"] for answer in answers]


def test_where_null_is_not_allowed_there_are_no_null_odds(model: Path, squad: Path, run: Path) -> None:
    document = read(squad)
    document["data"][0]["paragraphs"][0]["qas"].pop()
    answerable = run.with_name("answerable.json")
    answerable.write_text(json.dumps(document))
    module = make_module(model, version_2_with_negative=False)
    data = make_data(model, validation_file=str(answerable), version_2_with_negative=False)
    make_trainer(run, Results()).validate(module, data, verbose=False)
    assert json_files(run) == ["data.json", "metrics.json", "nbest_predictions.json", "predictions.json"]


def test_named_sets_have_folders_of_their_own(model: Path, squad: Path, run: Path) -> None:
    other = write_long(run.with_name("other.json"), copies=2)
    module = make_module(model)
    data = make_data(model, validation_file={"vi": str(squad), "en": str(other)})
    make_trainer(run, Results()).validate(module, data, verbose=False)
    assert json_files(run) == ["data.json", "metrics.json"]
    assert json_files(run / "vi") == json_files(run / "en") == FILES[2:]
    assert len(read(run / "vi" / "predictions.json")) == 7
    assert len(read(run / "en" / "predictions.json")) == 14
    metrics = read(run / "metrics.json")
    assert metrics["val/vi/f1"] == module.scores["vi"]["f1"]
    assert metrics["val/en/f1"] == module.scores["en"]["f1"]
    assert metrics["val/mean_f1"] == pytest.approx((metrics["val/vi/f1"] + metrics["val/en/f1"]) / 2)


def test_files_of_sets_that_are_gone_do_not_stay(model: Path, squad: Path, run: Path) -> None:
    module = make_module(model)
    for files in (str(squad), {"vi": str(squad), "en": str(squad)}, {"vi": str(squad)}):
        make_trainer(run, Results()).validate(module, make_data(model, validation_file=files), verbose=False)
    assert sorted(path.relative_to(run).as_posix() for path in run.rglob("*.*")) == [
        "config.yaml",
        "data.json",
        "metrics.json",
        *(f"vi/{name}" for name in sorted([*FILES[2:], QUESTIONS])),
    ]


def test_predicting_needs_no_rule_of_scoring(model: Path, squad: Path, run: Path) -> None:
    module = make_module(model, language={"vi": "vi"})
    make_trainer(run, Results()).predict(module, make_data(model, predict_file=str(squad)), return_predictions=False)
    assert len(read(run / "predictions.json")) == 7


def test_a_score_that_is_not_a_number_is_no_best(model: Path, squad: Path, run: Path) -> None:
    fit(model, squad, run, Results(), f1=(math.nan, 20.0, math.nan))
    assert read(run / "metrics.json")["val/f1"] == 20.0


def test_a_test_writes_scores_under_its_own_name(model: Path, squad: Path, run: Path) -> None:
    module = make_module(model)
    make_trainer(run, Results()).test(module, make_data(model, test_file=str(squad)), verbose=False)
    assert json_files(run) == FILES
    assert read(run / "metrics.json")["test/f1"] == module.scores[""]["f1"]


def test_predict_writes_answers_and_no_scores(model: Path, squad: Path, run: Path) -> None:
    data = make_data(model, predict_file=str(squad))
    make_trainer(run, Results()).predict(make_module(model), data, return_predictions=False)
    assert json_files(run) == ["data.json", *FILES[2:]]
    assert len(read(run / "predictions.json")) == 7
    table = read_table(run / QUESTIONS)  # says which question each answer is to, where the ids were made
    assert all(table["question"].to_pylist())
    assert dict(zip(table["id"].to_pylist(), table["prediction"].to_pylist(), strict=True)) == read(
        run / "predictions.json"
    )
    assert table["f1"].null_count == len(table) == 7
    with pytest.raises(UserError, match="write the file anew with validate or test"):
        read_questions(run)  # no report or comparison takes golds without scores for questions without golds


def test_the_scores_of_each_question_have_the_scores_of_all_as_their_means(model: Path, squad: Path, run: Path) -> None:
    module = make_module(model)
    make_trainer(run, Results()).validate(module, make_data(model, validation_file=str(squad)), verbose=False)
    table, scores = read_table(run / QUESTIONS), module.scores[""]
    assert table["row"].to_pylist() == list(range(7))
    assert dict(zip(table["id"].to_pylist(), table["prediction"].to_pylist(), strict=True)) == read(
        run / "predictions.json"
    )
    for name in ("exact_match", "f1"):
        assert statistics.fmean(table[name].to_pylist()) == pytest.approx(scores[name], abs=1e-9)
    answerable = [bool(golds) for golds in table["golds"].to_pylist()]
    spans = [f1 for f1, known in zip(table["span_f1"].to_pylist(), answerable, strict=True) if known]
    assert statistics.fmean(spans) >= scores["HasAns_f1"]
    # Where golds stand came with the questions.
    for golds, context in zip(table["golds"].to_pylist(), table["context"].to_pylist(), strict=True):
        assert [context[gold["start"] : gold["end"]] for gold in golds] == [gold["text"] for gold in golds]


def test_scores_of_a_run_are_those_of_score(model: Path, squad: Path, run: Path, shared: Path) -> None:
    document = read(squad)
    qas = document["data"][0]["paragraphs"][0]["qas"]
    qas[0]["is_impossible"] = True  # though it has answers
    qas[1] |= {"is_impossible": True, "answers": [{"text": "", "answer_start": -1}]}
    file = run.with_name("flagged.json")
    file.write_text(json.dumps(document))
    make_trainer(run, Results()).validate(
        make_module(model), make_data(model, validation_file=str(file)), verbose=False
    )
    scored = run.with_name("scored.json")
    assert (
        main(["score", "--data", str(file), "--predictions", str(run / "predictions.json"), "--output", str(scored)])
        == 0
    )
    of_run, of_score = read(run / "metrics.json"), read(scored)
    for ours, theirs in (("exact_match", "exact"), ("f1", "f1"), ("total", "total")):
        assert of_run[f"val/{ours}"] == pytest.approx(of_score[theirs])


def test_answers_are_scored_by_the_rule_of_the_language(model: Path, squad: Path, run: Path) -> None:
    options: dict[str, Any] = {"version_2_with_negative": False}

    def scores(files: Any, language: Any) -> dict[str, dict[str, float]]:
        module = make_module(model, language=language, **options)
        make_trainer(run, Results()).validate(module, make_data(model, validation_file=files, **options), verbose=False)
        return module.scores

    document = read(squad)
    qas = document["data"][0]["paragraphs"][0]["qas"]
    qas.pop()
    german = run.with_name("german.json")
    german.write_text(json.dumps(document))
    scores(str(german), None)
    for qa in qas:  # in German, "der" is an article
        qa["answers"][0]["text"] = "der " + read(run / "predictions.json")[qa["id"]]
    german.write_text(json.dumps(document))

    assert scores(str(german), None)[""]["exact_match"] == 0
    assert scores(str(german), "en")[""]["exact_match"] == 0
    assert scores(str(german), "de")[""]["exact_match"] == 100
    assert read_table(run / QUESTIONS)["exact_match"].to_pylist() == [100] * 6
    named = scores({"a": str(german), "b": str(german)}, {"b": "de", "a": "en"})
    assert (named["a"]["exact_match"], named["b"]["exact_match"]) == (0, 100)
    with pytest.warns(match="no rule for the language 'fr'"):
        make_module(model, language="fr")
    for languages in ("xx", {"vi": "vi", "de": "xx"}):
        with pytest.raises(UserError, match="language 'xx' is not known"):
            make_module(model, language=languages)
    with pytest.raises(UserError, match=r"no language for an evaluation set without a name, but for"):
        scores(str(german), {"a": "de"})


# What is shown


def test_scores_and_answers_of_the_kept_evaluation_are_shown(
    model: Path, squad: Path, run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    results = Results(samples=2)
    fit(model, squad, run, results, f1=(12.34, 5.0))
    capsys.readouterr()
    results.show()
    printed = capsys.readouterr().out
    assert "12.34" in printed
    questions = [qa["question"] for part in read(squad)["data"][0]["paragraphs"] for qa in part["qas"]]
    shown = [i for i, question in enumerate(questions) if question in printed]
    assert shown == [0, len(questions) // 2]


def test_a_table_of_answers_goes_to_wandb(model: Path, squad: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[dict[str, Any]] = []
    logger = WandbLogger(save_dir=run, offline=True)
    for name in ("log_metrics", "log_hyperparams", "finalize", "save", "after_save_checkpoint"):
        monkeypatch.setattr(logger, name, lambda *_, **__: None)
    monkeypatch.setattr(WandbLogger, "experiment", None)
    monkeypatch.setattr(logger, "log_table", lambda key, **table: logged.append({"key": key} | table))
    trainer = make_trainer(run, Results(samples=1), logger=logger)
    trainer.validate(make_module(model), make_data(model, validation_file=str(squad)), verbose=False)
    (table,) = logged
    assert table["key"] == "samples"
    assert table["columns"][:3] == ["id", "question", "prediction"]
    assert [row[0] for row in table["data"]] == [f"0-{i}" for i in range(7)]

"""Every config in ``configs/`` runs: pointed at local files and a tiny model of its family by flags alone."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from qa_lightning.cli.main import main
from qa_lightning.data.synthetic import SyntheticCorpus
from tests import standins
from tests.conftest import ROOT
from tests.offline_wandb import read_offline_run

CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
NAMES = [path.stem for path in CONFIGS]
RECIPES = sorted((ROOT / "configs/recipes").glob("*.yaml"))
ALL = [pytest.param(path, id=path.stem) for path in (*CONFIGS, *RECIPES)]


@dataclass(frozen=True)
class Local:
    """What stands in for a config's data and model.

    Attributes:
        data: The stem of a pair of files in the folder of real data.
        family: Builds a model of the same family as the config's.
        flags: What the config says that does not fit another model.
    """

    data: str
    family: Callable[[Path], Any]
    flags: tuple[str, ...] = ()


STANDINS = {
    "quickstart": Local(
        "xquad.en.v2",
        standins.bert,
        ("--data.tokenizer_name", "null", "--model.config_overrides", "null"),
    ),
    "squad_v1_distilbert": Local("xquad.en", standins.distilbert),
    "squad_v1_distilbert_long": Local("xquad.en", standins.distilbert),
    "squad_v2_distilbert": Local("xquad.en.v2", standins.distilbert),
    "squad_v2_distilbert_round2": Local("xquad.en.v2", standins.distilbert),
    "squad_pt_longformer": Local("squad-pt", standins.longformer),
    "squad_pt_longformer_2048": Local("squad-pt", standins.longformer),
    "mlqa_vi_roberta": Local("xquad.vi", standins.roberta),
    "mlqa_vi_roberta_mlqa_rule": Local("xquad.vi", standins.roberta),
}

SHORT = [
    *("--trainer.max_epochs", "2", "--trainer.limit_train_batches", "4", "--trainer.log_every_n_steps", "1"),
    *("--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"),
    *("--trainer.enable_model_summary", "false"),
]
"""Flags of a few steps with a validation after each two of the optimizer's, or eight."""

Build = Callable[[Callable[[Path], Any]], str]


@pytest.fixture(scope="module")
def build(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Builds a family's tiny model once and returns its folder."""
    folders: dict[Any, str] = {}

    def built(family: Callable[[Path], Any]) -> str:
        if family not in folders:
            folders[family] = str(standins.save(family, shared, tmp_path_factory.mktemp("model")))
        return folders[family]

    return built


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder, and a W&B that keeps to it and to itself."""
    import wandb

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_CONSOLE", "off")
    for kind in ("CACHE", "CONFIG", "DATA"):
        monkeypatch.setenv(f"WANDB_{kind}_DIR", str(tmp_path / "wandb-home"))
    yield tmp_path
    wandb.teardown()


@pytest.fixture(scope="module")
def thinned(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the shared one, with a third of the questions on each text."""
    folder = tmp_path_factory.mktemp("thinned")
    (folder / "data").mkdir()
    for stem in {standin.data for standin in STANDINS.values()}:
        for split in ("train", "dev"):
            document = read(shared, "data", f"{stem}.{split}.json")
            for article in document["data"]:
                for paragraph in article["paragraphs"]:
                    paragraph["qas"] = paragraph["qas"][::3]
            (folder / "data" / f"{stem}.{split}.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


def files(folder: Path, data: str) -> list[str]:
    train, validation = (str(folder / "data" / f"{data}.{split}.json") for split in ("train", "dev"))
    return ["--data.train_file", train, "--data.validation_file", validation]


def run_to_the_end(*arguments: str) -> None:
    """Runs a command, and waits for its W&B run, as the end of a process would."""
    import wandb

    assert main(list(arguments)) == 0
    wandb.finish()
    wandb.teardown()  # only then is everything on disk


def questions(path: str | Path) -> list[str]:
    """The ids of a SQuAD file, in published order."""
    data = json.loads(Path(path).read_text(encoding="utf-8"))["data"]
    return [qa["id"] for article in data for paragraph in article["paragraphs"] for qa in paragraph["qas"]]


def without_answers(path: Path, copy: Path) -> Path:
    """The file's first article, as someone has it who does not know the answers."""
    document = json.loads(path.read_text(encoding="utf-8"))
    document["data"] = document["data"][:1]
    for paragraph in document["data"][0]["paragraphs"]:
        paragraph["qas"] = [{"id": qa["id"], "question": qa["question"]} for qa in paragraph["qas"]]
    copy.write_text(json.dumps(document), encoding="utf-8")
    return copy


def read(*path: str | Path) -> Any:
    return json.loads(Path(*path).read_text(encoding="utf-8"))


def scores(run: Path) -> dict[str, float]:
    return {key: value for key, value in read(run, "metrics.json").items() if key.startswith("val/")}


def check_run(run: Path, ids: list[str], *, with_negative: bool) -> None:
    """Looks for everything that a training leaves in its folder."""
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {
        path.name for path in (run / "best_model").iterdir()
    }
    found = scores(run)
    assert found["val/total"] == len(ids)
    assert 0 < found["val/f1"] < 50  # a model of random weights gets some words right, and few
    assert 0 <= found["val/exact_match"] <= found["val/f1"]
    assert found["val/loss"] > 0
    assert ("val/NoAns_f1" in found) is with_negative
    predictions, nbest = read(run, "predictions.json"), read(run, "nbest_predictions.json")
    assert list(predictions) == list(nbest) == ids
    assert any(predictions.values())
    assert all("probability" in answers[0] for answers in nbest.values())
    assert (run / "null_odds.json").is_file() is with_negative
    if with_negative:
        assert list(read(run, "null_odds.json")) == ids


def check_again(run: Path, folder: Path, data: str) -> None:
    """A new process' ``validate`` repeats what training saw; ``predict`` answers questions of unknown answer."""
    quiet = ["--trainer.enable_progress_bar", "false"]
    run_to_the_end("validate", "--run_dir", str(run), "--ckpt_path", "best", *quiet)
    assert scores(run / "validate") == scores(run)
    for name in ("predictions.json", "nbest_predictions.json"):
        assert read(run, "validate", name) == read(run, name)

    unknown = without_answers(folder / "data" / f"{data}.dev.json", run / "unknown.json")
    run_to_the_end("predict", "--run_dir", str(run), "--data.predict_file", str(unknown), *quiet)
    assert list(read(run, "predict", "predictions.json")) == questions(unknown)


PUBLISHED: dict[str, dict[str, Any]] = yaml.safe_load("""
squad_v2_distilbert:
  {data.batch_size: 64, model.learning_rate: 2.0e-5, trainer.max_epochs: 3, model.weight_decay: 0.01,
   data.max_length: 384, data.doc_stride: 128, data.version_2_with_negative: true, trainer.log_every_n_steps: 50,
   checkpoint.every_n_train_steps: 500, checkpoint.save_total_limit: 2}
squad_v2_distilbert_round2:
  {data.batch_size: 64, model.learning_rate: 2.0e-5, trainer.max_epochs: 3,
   model.model_name_or_path: runs/squad_v2_distilbert/best_model}
squad_v1_distilbert_long:
  {data.batch_size: 64, model.learning_rate: 2.0e-5, trainer.max_epochs: 20, checkpoint.every_n_train_steps: 2000,
   data.version_2_with_negative: false}
squad_pt_longformer:
  {data.train_split: "train[:5%]", data.validation_split: "validation[:4%]", data.max_length: 384,
   data.doc_stride: 128, model.learning_rate: 1.0e-6, trainer.max_epochs: 2, data.batch_size: 2,
   trainer.accumulate_grad_batches: 1}
mlqa_vi_roberta:
  {data.train_split: "train[:20%]", data.validation_split: "validation[:20%]", data.max_length: 512,
   data.doc_stride: 128, data.batch_size: 4, trainer.accumulate_grad_batches: 4, model.learning_rate: 2.0e-5,
   trainer.max_epochs: 3, model.weight_decay: 0.01, model.max_answer_length: 30, model.language: null}
squad_v1_distilbert:
  {data.batch_size: 16, model.learning_rate: 2.0e-5, trainer.max_epochs: 3, model.weight_decay: 0.01,
   data.max_length: 384, data.doc_stride: 128}
""")
"""The values that the published systems were trained with."""

ALL_PUBLISHED: dict[str, Any] = yaml.safe_load("""
  {trainer.precision: 32-true, trainer.gradient_clip_val: 1.0, seed_everything: 42, model.optimizer: null,
   model.lr_scheduler: null, model.lr_scheduler_type: linear, model.warmup_ratio: 0, model.warmup_steps: 0}
""")


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_systems_have_their_own_values(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit, match="0"):
        main(["fit", "--config", f"configs/{name}.yaml", "--print_config"])
    config = yaml.safe_load(capsys.readouterr().out)
    for key, value in (ALL_PUBLISHED | PUBLISHED[name]).items():
        section, _, argument = key.partition(".")
        arguments = config[section].get("init_args", config[section]) if argument else config
        found = arguments[argument or section]
        assert found == value, key
    callbacks = [callback["class_path"].rpartition(".")[2] for callback in config["trainer"]["callbacks"] or ()]
    assert callbacks == (["WandbWatch"] if name.startswith("squad_v2") else [])


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_would_be_better_stands_beside_it(name: str) -> None:
    """A commented line takes the place of the one with its key, and says why; or another file does it all."""
    text = (ROOT / f"configs/{name}.yaml").read_text(encoding="utf-8")
    assert re.search(r"^# It printed: ", text, re.MULTILINE)
    assert re.search(r"^# Better: ", text, re.MULTILINE) or name == "squad_v1_distilbert_long"
    for indent, line in re.findall(r"^( *)# (\w+: .*)$", text[text.index("seed_everything:") :], re.MULTILINE):
        assert " # " in line, f"{line}: without its reason"
        assert yaml.safe_load(text.replace(f"{indent}# {line}", f"{indent}{line}"))


def test_every_config_has_a_stand_in() -> None:
    assert set(NAMES) == set(STANDINS)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_fit_validate_predict(name: str, thinned: Path, build: Build, workplace: Path) -> None:
    standin, config = STANDINS[name], yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text())
    run = workplace / "runs" / name
    local = [*files(thinned, standin.data), *standin.flags, *SHORT]
    model = ["--model.model_name_or_path", build(standin.family)]
    if name.endswith("_round2"):
        first = workplace / config["model"]["model_name_or_path"]
        first_config = str(ROOT / "configs" / f"{name.removesuffix('_round2')}.yaml")
        # After so few steps, the best threshold is the one that answers nothing.
        at_zero = ["--model.null_score_diff_threshold", "0"]
        run_to_the_end("fit", "--config", first_config, "--run_dir", str(first.parent), *model, *local, *at_zero)
        assert (first / "model.safetensors").is_file()
        model = []  # it finds the first round's where the first config's comments say that it will be

    run_to_the_end("fit", "--config", str(ROOT / f"configs/{name}.yaml"), "--run_dir", str(run), *model, *local)

    ids = questions(thinned / "data" / f"{standin.data}.dev.json")
    part = re.fullmatch(r"validation\[:(\d+)%\]", config["data"].get("validation_split", ""))
    if part:
        ids = ids[: round(len(ids) * int(part[1]) / 100)]
    check_run(run, ids, with_negative=config["data"].get("version_2_with_negative", False))
    resolved = yaml.safe_load((run / "config.yaml").read_text())
    assert resolved["trainer"]["max_epochs"] == 2
    for section in ("model", "data"):
        given = {flag.partition(f"--{section}.")[2] for flag in [*model, *local]} | {"synthetic"}
        asked = {key: value for key, value in config[section].items() if key not in given}
        assert asked.items() <= resolved[section]["init_args"].items()
    check_again(run, thinned, standin.data)


@pytest.mark.slow
@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_goes_with_any_model_and_questions(path: Path, thinned: Path, build: Build, workplace: Path) -> None:
    run = workplace / "runs" / path.stem
    local = [*files(thinned, "xquad.en"), "--model.model_name_or_path", build(standins.distilbert), *SHORT]
    run_to_the_end("fit", "--config", str(path), "--run_dir", str(run), *local)
    check_run(run, questions(thinned / "data/xquad.en.dev.json"), with_negative=False)


@pytest.mark.slow
def test_the_quickstart_in_small(workplace: Path) -> None:
    """As it is but for its numbers: its own corpus, model and tokenizer."""
    (workplace / "configs").symlink_to(ROOT / "configs")
    run = workplace / "runs" / "quickstart"
    small = ["--data.synthetic.train_passages", "20", "--data.synthetic.validation_passages", "10"]
    small += ["--model.null_score_diff_threshold", "1000"]  # after so few steps, all that is learnt is to say null
    run_to_the_end("fit", "--config", "configs/quickstart.yaml", "--run_dir", str(run), *small, *SHORT)

    seed = yaml.safe_load((run / "config.yaml").read_text())["data"]["init_args"]["synthetic"]["seed"]
    check_run(run, [row["id"] for row in SyntheticCorpus(20, 10, seed).rows("validation")], with_negative=True)
    run_to_the_end("validate", "--run_dir", str(run), "--trainer.enable_progress_bar", "false")
    assert scores(run / "validate") == scores(run)


@pytest.mark.slow
def test_wandb_gets_config_scores_samples_and_the_model(shared: Path, build: Build, workplace: Path) -> None:
    run = workplace / "runs" / "squad_v2_distilbert"
    model = build(standins.distilbert)
    config = str(ROOT / "configs/squad_v2_distilbert.yaml")
    flags = ["--model.model_name_or_path", model, *files(shared, "xquad.en.v2"), *SHORT]
    flags += ["--checkpoint.every_n_train_steps", "3", "--trainer.callbacks.log_freq", "4"]
    run_to_the_end("fit", "--config", config, "--run_dir", str(run), *flags)

    logged = read_offline_run(run)
    assert logged.config["model"]["init_args"]["model_name_or_path"] == model
    assert logged.config["model"]["init_args"]["learning_rate"] == 2e-5
    assert logged.config["data"]["init_args"]["doc_stride"] == 128
    assert logged.config["trainer"]["gradient_clip_val"] == 1.0
    assert logged.config["data/train/questions"] == 1265

    epochs = [row for row in logged.history if "val/f1" in row]
    assert [row["epoch"] for row in epochs] == [0, 1]
    best = max(epochs, key=lambda row: row["val/f1"])
    kept = scores(run)
    for key in ("val/f1", "val/exact_match", "val/loss", "val/HasAns_f1", "val/NoAns_f1"):
        assert best[key] == pytest.approx(kept[key], rel=1e-6)  # W&B is given float32
    assert sum("train/loss" in row for row in logged.history) == 8

    kept_checkpoints = {"best.ckpt", "last.ckpt", "step-3.ckpt", "step-6.ckpt"}
    assert {path.name for path in (run / "checkpoints").iterdir()} == kept_checkpoints
    gradients = [row for row in logged.history if any(name.startswith("gradients/") for name in row)]
    assert len(gradients) == 2

    table, predictions = logged.tables["samples"], read(run, "predictions.json")
    assert table["columns"] == ["id", "question", "prediction", "gold", "probability"]
    assert len(table["data"]) == 50
    assert all(predictions[id_] == prediction for id_, _, prediction, _, _ in table["data"])

    assert {"report/question_type", "report/threshold", "report/reliability"} <= set(logged.images)
    for pictures in logged.images.values():
        assert [path.read_bytes()[:8] for path in pictures] == [b"\x89PNG\r\n\x1a\n"]

    models = [(aliases, paths) for kind, aliases, paths in logged.artifacts if kind == "model"]
    assert any("best" in aliases and paths == {"model.ckpt"} for aliases, paths in models)


@pytest.mark.parametrize("path", ALL)
def test_the_printed_config_reads_as_the_same(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    printed = []
    for source in (path, tmp_path / "printed.yaml"):
        with pytest.raises(SystemExit) as stop:
            main(["fit", "--config", str(source), "--print_config"])
        assert stop.value.code == 0
        printed.append(capsys.readouterr().out)
        (tmp_path / "printed.yaml").write_text(printed[-1])
    assert printed[0] == printed[1]


@pytest.mark.parametrize("path", ALL)
def test_the_commands_in_the_comments_are_understood(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each ``fit`` that a config's comments name, and their other flags as further ones, can be parsed."""
    monkeypatch.chdir(ROOT)
    comments = [line[1:].strip() for line in path.read_text().splitlines() if line.startswith("#")]
    commands = [line for line in comments if line.startswith("python -m qa_lightning fit --config")]
    assert commands
    others = [" ".join(re.findall(r"--[\w.]+ [\w./-]+", line)) for line in comments if "--config" not in line]
    for command in [*commands, *(f"{commands[0]} {flags}" for flags in others if flags and "ckpt_path" not in flags)]:
        with pytest.raises(SystemExit) as stop:
            main([*shlex.split(command)[3:], "--print_config"])
        assert stop.value.code == 0, capsys.readouterr().err

"""Heads in whole commands: trained, resumed, validated, asked, exported and trained again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import onnxruntime
import pytest
import torch
import yaml

from qa_lightning.cli.main import main
from qa_lightning.exporting.folders import export
from qa_lightning.modeling import acceleration
from qa_lightning.modeling.heads import HeadConfig
from qa_lightning.modeling.module import QALightningModule
from qa_lightning.reader.reader import Reader
from qa_lightning.utils.errors import UserError
from tests.commands import check_refused_before_data, run_command
from tests.exporting.exported import check_alike, questions
from tests.tiny import fit_arguments, write_squad
from tests.training import NO_DROPOUT, SETTINGS, make_data, make_module, make_trainer, trains

pytestmark = trains

HEAD = {"type": "biaffine", "size": 8, "answerability": True, "answerability_weight": 0.5}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_squad(tmp_path_factory.mktemp("small") / "squad.json", copies=2, impossible=True)


@pytest.fixture(scope="module")
def command(folder: Path, small: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A training of the head with the classifier, an average of weights and rates by layer; not its length."""
    file = tmp_path_factory.mktemp("whole") / "head.yaml"
    model = {
        "head": HEAD,
        "optimization": {"layer_decay": 0.9, "head_learning_rate": 0.02},
        "lr_scheduler_type": "constant",
    }
    file.write_text(yaml.safe_dump({"model": model}))
    first, *others = fit_arguments(str(folder), str(small), str(small))
    return [first, "--config", str(file), *others, "--data.version_2_with_negative", "true", "--ema_decay", "0.5"]


@pytest.fixture(scope="module")
def whole(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs of five steps in one go."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    assert main([*command, "--trainer.max_epochs", "2", "--run_dir", str(run)]) == 0
    return run


def weights_of(checkpoint: Path) -> dict[str, Any]:
    return torch.load(checkpoint, weights_only=True)["state_dict"]


def test_a_run_keeps_its_head_and_logs_the_classifiers_loss(whole: Path) -> None:
    assert yaml.safe_load((whole / "config.yaml").read_text())["model"]["init_args"]["head"] == HEAD
    (path,) = whole.rglob("metrics.csv")
    header, *rows = path.read_text().splitlines()
    column = header.split(",").index("train/answerability")
    losses = [float(row.split(",")[column]) for row in rows if row.split(",")[column]]
    assert len(losses) == 10
    assert losses[0] == pytest.approx(0.5 * torch.log(torch.tensor(2.0)).item())  # before it has learnt anything
    kept = json.loads((whole / "best_model/config.json").read_text())
    assert kept["model_type"] == "qa_lightning"
    assert kept["qa_head"] == {"type": "biaffine", "size": 8, "answerability": True, "model_type": "bert"}


def test_every_part_of_the_head_is_trained(whole: Path, folder: Path) -> None:
    trained = make_module(whole / "best_model").model.qa_head
    assert trained.get_parameter("biaffine.form").abs().max() > 1e-3
    assert trained.answerability.weight.abs().max() > 1e-3
    assert trained.mix.item() != 1


def test_a_training_that_was_stopped_in_mid_epoch_ends_with_the_same_weights(
    command: list[str], whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert main([*command, "--trainer.max_epochs", "2", "--trainer.max_steps", "7", "--run_dir", str(run)]) == 0
    assert main(["fit", "--run_dir", str(run), "--ckpt_path", "last", "--trainer.max_steps", "10"]) == 0
    ours, theirs = (weights_of(path / "checkpoints/last.ckpt") for path in (run, whole))
    assert any("qa_head" in name for name in ours)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_checkpoint_a_folder_and_a_run_answer_alike(whole: Path, small: Path) -> None:
    rows = questions(small)
    expected = Reader.from_pretrained(whole)
    assert expected.runner.network.qa_head.scores_pairs
    for other in (whole / "best_model", whole / "checkpoints/best.ckpt"):
        check_alike(Reader.from_pretrained(other), expected, rows)
    module = QALightningModule.load_from_checkpoint(whole / "checkpoints/best.ckpt")
    check_alike(Reader(module.model, module.tokenizer, **vars(expected.settings)), expected, rows)
    assert [term.name for term in module.loss_terms] == ["answerability"]


def test_validate_and_ask_find_what_the_reader_finds(
    whole: Path, small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    arguments = ["validate", "--run_dir", str(run), "--ckpt_path", "best"]
    assert main([*arguments, "--trainer.enable_progress_bar", "false"]) == 0
    found = json.loads(max(run.rglob("predictions.json"), key=lambda path: path.stat().st_mtime_ns).read_text())
    reader = Reader.from_pretrained(whole / "best_model", align_to_words=False, null_score_diff_threshold=0.0)
    predictions = list(reader.predictions(questions(small)))
    assert list(found.values()) == [prediction.text for prediction in predictions]
    assert len({prediction.text for prediction in predictions}) > 1
    capsys.readouterr()
    row = questions(small)[0]
    (tmp_path / "context.txt").write_text(row["context"])
    asked = ["ask", row["question"], "--context", str(tmp_path / "context.txt"), "--json", "--model", str(whole)]
    assert main(asked) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["score"] == pytest.approx(Reader.from_pretrained(whole)(row)["score"])


def test_scores_of_answers_are_those_of_pairs(whole: Path, small: Path) -> None:
    reader = Reader.from_pretrained(whole / "best_model", align_to_words=False, null_score_diff_threshold=0.0)
    row = questions(small)[0]
    explanation = reader.explain(row["question"], row["context"])
    assert explanation.tokens.starts.sum() < 1
    assert explanation.tokens.starts.sum() == pytest.approx(explanation.tokens.ends.sum())
    texts = [answer["answer"] for answer in reader(row, top_k=15)]
    assert len(texts) == len(set(texts)) == 15
    with pytest.raises(UserError, match="legacy=True"):
        reader(row, legacy=True)


@pytest.mark.parametrize(
    "values",
    [
        HEAD,
        pytest.param({"type": "joint", "size": 8}, marks=pytest.mark.slow),
        pytest.param({"type": "pointer", "answerability": True}, marks=pytest.mark.slow),
    ],
    ids=lambda values: values["type"],
)
def test_an_exported_model_answers_alike(values: dict[str, Any], folder: Path, small: Path, tmp_path: Path) -> None:
    module = make_module(folder, head=HeadConfig(**values))
    torch.manual_seed(1)
    for parameter in module.model.qa_head.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    module.save_pretrained(tmp_path / "model")
    for form in ("onnx", "safetensors"):
        export(str(tmp_path / "model"), tmp_path / form, form)
        reader, other = Reader.from_pretrained(tmp_path / form), Reader.from_pretrained(tmp_path / "model")
        check_alike(reader, other, questions(small))
        check_alike(reader, other, questions(small), handle_impossible_answer=False)
        assert "transformers alone does not load" in (tmp_path / form / "README.md").read_text() or form == "onnx"
    session = onnxruntime.InferenceSession(tmp_path / "onnx/model.onnx")
    takes_place = any(given.name == "null_position" for given in session.get_inputs())
    assert takes_place == bool(values.get("answerability"))


def test_a_second_round_goes_on_with_the_head_of_the_first(whole: Path, small: Path, tmp_path: Path) -> None:
    best, run = str(whole / "best_model"), tmp_path / "run"
    arguments = fit_arguments(best, str(small), str(small))
    arguments += ["--data.version_2_with_negative", "true", "--model.learning_rate", "0"]
    assert main([*arguments, "--trainer.max_steps", "1", "--run_dir", str(run)]) == 0
    ours, theirs = (torch.nn.Module.state_dict(make_module(path).model) for path in (run / "best_model", best))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # which dynamo looks at behind a graph break
def test_a_compiled_network_learns_the_same(
    folder: Path, squad: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for function in (lambda *_, **__: None, lambda network, *_, **__: network.compile(dynamic=False, backend="eager")):
        monkeypatch.setattr(acceleration, "compile_network", function)
        torch.compiler.reset()
        pl.seed_everything(0, verbose=False)
        options = {"torch_compile": True, "config_overrides": NO_DROPOUT, "learning_rate": 0.02}
        module = make_module(folder, head=HeadConfig(**HEAD), **options)
        make_trainer(tmp_path, max_steps=2).fit(module, make_data(folder, train=squad))
        found.append(module.state_dict())
    for name, weights in found[0].items():
        torch.testing.assert_close(found[1][name], weights)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--model.head.size", "8"], "model.head.size is that of the heads joint and biaffine"),
        (["--model.head.answerability_weight", "-1"], "model.head.answerability_weight must be at least 0, not -1"),
        (["--model.head.type", "joint", "--model.head.size", "0"], "model.head.size must be at least 1, not 0"),
    ],
)
def test_mistakes_end_before_data_are_read(
    folder: Path, tmp_path: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    check_refused_before_data(folder, flags, message, tmp_path / "run", capsys)


def test_a_checkpoint_of_another_head_is_refused(
    whole: Path, command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = whole / "checkpoints/last.ckpt"
    arguments = [*command, "--run_dir", str(tmp_path / "run"), "--ckpt_path", str(last)]
    assert main([*arguments, "--model.head.answerability", "false"]) == 2
    assert "model.head: " in capsys.readouterr().err
    with pytest.raises(
        UserError, match=r"holds the weights of another head \(biaffine of size 8 with answerability, not"
    ):
        QALightningModule.load_from_checkpoint(last, head={"type": "joint"})


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["joint", "biaffine"])
def test_two_processes_train_as_one_does(kind: str, folder: Path, squad: Path, tmp_path: Path) -> None:
    """Each epoch is a step of one batch, or of half of it in each process."""
    settings = [item for key, value in SETTINGS.items() for item in (f"--data.{key}", str(value).lower())]
    arguments = [*fit_arguments(str(folder), str(squad), str(squad)), *settings, "--trainer.max_epochs", "3"]
    arguments += ["--model.config_overrides", str(NO_DROPOUT), "--model.lr_scheduler_type", "constant"]
    arguments += ["--model.optimizer", "SGD", "--model.optimizer.lr", "0.02", "--trainer.limit_val_batches", "0"]
    arguments += ["--model.head.type", kind, "--model.head.answerability", "true"]
    data = make_data(folder, train=squad, batch_size=1)
    data.setup("fit")
    windows = len(data.train_dataloader())
    found = []
    for processes in (1, 2):
        run = tmp_path / str(processes)
        devices = ["--trainer.strategy", "ddp", "--trainer.devices", "2"] if processes == 2 else []
        run_command(*arguments, *devices, "--data.batch_size", str(-(-windows // processes)), "--run_dir", str(run))
        checkpoint = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
        assert checkpoint["global_step"] == 3
        found.append(checkpoint["state_dict"])
    assert found[0][f"model.qa_head.{kind}.form"].any()
    for name, weights in found[0].items():
        torch.testing.assert_close(found[1][name], weights, rtol=1e-3, atol=1e-5)

"""``fit`` on plain text, by both objectives: into a folder that a training on questions starts from."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM, AutoModelForQuestionAnswering, AutoTokenizer

from qa_lightning.cli.main import main
from qa_lightning.modeling import attention
from qa_lightning.modeling.module import QALightningModule
from qa_lightning.pretraining import MaskedLanguageModule, TextDataModule
from qa_lightning.pretraining.masked_data import MaskedBatch, MaskedDataset
from qa_lightning.pretraining.masking import Masking
from qa_lightning.pretraining.recurring_spans import RecurringSpans
from qa_lightning.pretraining.span_data import SpanDataset
from tests.commands import run_command
from tests.pretraining.texts import fit_masked, fit_text, masked_folder, write_text
from tests.tiny import fit_arguments, tiny_folder, write_squad
from tests.training import NO_DROPOUT, make_trainer, trains
from tests.waits import Waits

pytestmark = trains

EVERY_SPAN = RecurringSpans(max_common=1.0)

Command = Callable[[Path, Path, Path], list[str]]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    return {
        "model": masked_folder(folder / "model"),
        "train": write_text(folder / "train.txt", 12),
        "held": write_text(folder / "held.txt", 6, seed=1),
        "squad": write_squad(folder / "squad.json"),
    }


def command_of(objective: Command, files: dict[str, Path]) -> list[str]:
    return objective(files["model"], files["train"], files["held"])


@pytest.fixture(scope="module")
def runs(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[Command, Path]:
    """A run of each objective."""
    made = {}
    for objective in (fit_masked, fit_text):
        made[objective] = tmp_path_factory.mktemp("runs") / objective.__name__
        assert main([*command_of(objective, files), "--run_dir", str(made[objective])]) == 0
    return made


def weights_of(run: Path) -> dict[str, Any]:
    return torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]


def test_masked_tokens_are_scored_on_held_out_text(runs: dict[Command, Path], files: dict[str, Path]) -> None:
    run = runs[fit_masked]
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["val/perplexity"] == pytest.approx(math.exp(metrics["val/loss"]))
    # The same by hand: the best model, and the masks that a validation always has.
    module = MaskedLanguageModule(str(run / "best_model"), max_length=24)
    data = TextDataModule(str(files["model"]), validation_file=str(files["held"]), max_length=24, batch_size=100)
    trainer = make_trainer(run)
    trainer.strategy.connect(module)
    data.trainer = trainer
    data.setup("validate")
    losses, right = [], []
    for batch in data.val_dataloader()[0]:
        assert isinstance(batch, MaskedBatch)
        where = batch.labels != -100
        count = (0.15 * batch.context_mask.sum(1) + 0.5).floor().clamp(min=1)
        assert where.sum(1).tolist() == count.tolist()
        logits = module.model.eval()(**batch.inputs).logits[where].detach()
        losses += torch.nn.functional.cross_entropy(logits, batch.labels[where], reduction="none").tolist()
        right += (logits.argmax(-1) == batch.labels[where]).tolist()
    assert metrics["val/loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    assert metrics["val/accuracy"] == pytest.approx(100 * sum(right) / len(right))
    assert not (run / "predictions.json").exists()


@pytest.mark.parametrize("whole_words", [False, True])
@pytest.mark.parametrize("batch_shapes", [None, 2])
def test_target_positions_are_those_of_the_labels(
    files: dict[str, Path], tmp_path: Path, whole_words: bool, batch_shapes: int | None
) -> None:
    data = TextDataModule(
        str(files["model"]),
        train_file=str(files["train"]),
        max_length=24,
        batch_size=5,
        batch_shapes=batch_shapes,
        masking=Masking(whole_words=whole_words),
    )
    module = MaskedLanguageModule(str(files["model"]), max_length=24)
    trainer = make_trainer(tmp_path, max_steps=0)
    trainer.fit(module, data)
    module.eval()
    for batch in data.train_dataloader():
        labels = batch.labels.flatten()[batch.target_positions]
        assert len(set(batch.target_positions.tolist())) == len(batch.target_positions)
        assert labels[labels != -100].tolist() == batch.labels[batch.labels != -100].tolist()
        logits = module.model(**batch.inputs).logits
        theirs = torch.nn.functional.cross_entropy(
            logits[: len(batch)].flatten(0, 1), batch.labels.flatten(), reduction="sum"
        )
        loss, _, count = module._loss(batch)
        torch.testing.assert_close(loss, theirs)
        assert count == (batch.labels != -100).sum()


def test_no_step_waits_for_a_gpu(files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waits, steps = Waits(), []

    def watched(step: Any) -> Any:
        def run(self: Any, *arguments: Any) -> Any:
            steps.append(step.__name__)
            with waits, monkeypatch.context() as patch:
                patch.setattr(torch.Tensor, "cpu", lambda _: pytest.fail("moved to the host"))
                return step(self, *arguments)

        return run

    for name in ("training_step", "validation_step"):
        monkeypatch.setattr(MaskedLanguageModule, name, watched(getattr(MaskedLanguageModule, name)))
    monkeypatch.setattr(MaskedLanguageModule, "check_loss", lambda *_: None)  # which is deferred on a GPU
    monkeypatch.setattr(MaskedDataset, "gather", watched(MaskedDataset.gather))
    monkeypatch.setattr(attention, "_is_on_host", lambda _: False)
    data = TextDataModule(
        str(files["model"]), train_file=str(files["train"]), validation_file=str(files["held"]), max_length=24
    )
    module = MaskedLanguageModule(str(files["model"]), max_length=24, config_overrides=NO_DROPOUT)
    make_trainer(tmp_path, max_epochs=1).fit(module, data)
    assert {"training_step", "validation_step", "gather"} == set(steps)
    assert waits.seen == []


def test_training_lowers_the_loss(runs: dict[Command, Path]) -> None:
    (path,) = runs[fit_masked].rglob("metrics.csv")
    header, *rows = (row.split(",") for row in path.read_text().splitlines())
    values = [float(row[header.index("val/loss")]) for row in rows if row[header.index("val/loss")]]
    assert len(values) == 2
    assert values[1] < values[0] < math.log(len(AutoTokenizer.from_pretrained(runs[fit_masked] / "best_model"))) - 0.3


def test_a_masked_model_lacks_nothing_but_the_head(runs: dict[Command, Path]) -> None:
    folder = runs[fit_masked] / "best_model"
    assert sorted(path.name for path in folder.iterdir() if "token" not in path.name) == [
        "config.json",
        "model.safetensors",
    ]
    _, masked = AutoModelForMaskedLM.from_pretrained(folder, output_loading_info=True)
    assert not masked["missing_keys"]
    _, answering = AutoModelForQuestionAnswering.from_pretrained(folder, output_loading_info=True)
    assert set(answering["missing_keys"]) == {"qa_outputs.weight", "qa_outputs.bias"}


def test_recurring_spans_train_the_head(runs: dict[Command, Path]) -> None:
    run = runs[fit_text]
    network, loading = AutoModelForQuestionAnswering.from_pretrained(run / "best_model", output_loading_info=True)
    assert not loading["missing_keys"]
    assert network.qa_outputs.weight.abs().sum() > 0
    metrics = json.loads((run / "metrics.json").read_text())
    predictions = json.loads((run / "predictions.json").read_text())
    assert metrics["val/total"] == len(predictions) > 0
    assert 0 <= metrics["val/f1"] <= 100
    report = json.loads((run / "data.json").read_text())
    assert report["validation"]["windows"] == len(predictions)
    assert report["train"]["spans"] >= report["train"]["windows"] > 0


@pytest.mark.parametrize("objective", [fit_masked, fit_text])
def test_questions_are_trained_from_the_folder(
    objective: Command, runs: dict[Command, Path], files: dict[str, Path], tmp_path: Path
) -> None:
    best = runs[objective] / "best_model"
    squad = str(files["squad"])
    assert main([*fit_arguments(str(best), squad, squad), "--run_dir", str(tmp_path / "run")]) == 0
    assert "val/f1" in json.loads((tmp_path / "run/metrics.json").read_text())
    name = "bert.embeddings.word_embeddings.weight"
    start = QALightningModule(str(best), max_length=24).state_dict()[f"model.{name}"]
    assert torch.equal(start, load_file(best / "model.safetensors")[name])
    assert not torch.equal(start, load_file(files["model"] / "model.safetensors")[name])


@pytest.mark.parametrize("objective", [fit_masked, fit_text])
def test_a_training_that_was_stopped_in_mid_epoch_ends_with_the_same_weights(
    objective: Command, runs: dict[Command, Path], files: dict[str, Path], tmp_path: Path
) -> None:
    whole = torch.load(runs[objective] / "checkpoints/last.ckpt", weights_only=True)
    steps, run = whole["global_step"], tmp_path / "run"
    middle = steps // 2 + steps // 4
    assert middle % (steps // 2)
    arguments = [*command_of(objective, files), "--trainer.max_steps", str(middle), "--run_dir", str(run)]
    # The schedule is that of the whole training.
    constant = ["--model.lr_scheduler_type", "constant"]
    assert main([*arguments, *constant]) == 0
    assert main(["fit", "--run_dir", str(run), "--ckpt_path", "last", "--trainer.max_steps", "-1"]) == 0
    straight = tmp_path / "straight"
    assert main([*command_of(objective, files), *constant, "--run_dir", str(straight)]) == 0
    ours, theirs = weights_of(run), weights_of(straight)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert not all(torch.equal(whole["state_dict"][name], theirs[name]) for name in theirs)


def test_a_run_is_scored_again(runs: dict[Command, Path], files: dict[str, Path]) -> None:
    run = runs[fit_masked]
    assert main(["validate", "--run_dir", str(run)]) == 0
    again = json.loads((run / "validate/metrics.json").read_text())
    assert again["val/loss"] == pytest.approx(json.loads((run / "metrics.json").read_text())["val/loss"], rel=1e-6)
    assert main(["test", "--run_dir", str(run), "--data.test_file", str(files["held"])]) == 0
    tested = json.loads((run / "test/metrics.json").read_text())
    assert tested["test/loss"] == pytest.approx(again["val/loss"], rel=1e-6)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--checkpoint.monitor", "val/f1"], "there will be no score 'val/f1' to watch: for masked tokens set"),
        (["--data.train_file", "empty.txt"], "empty.txt: there is no text in it; leave it out of data.train_file"),
        (["--data.train_file", "bad.txt"], "bad.txt, line 2: not UTF-8 at byte 6"),
        (["--model.model_name_or_path", "plain"], "the tokenizer plain has no mask token: masked tokens are for"),
        (
            ["--model.model_name_or_path", "decoder"],
            "decoder: transformers has no masked language model of the",
        ),
        (
            ["--data.stride", "22"],
            "data.stride (22) leaves no room for windows to move on: max_length (24)",
        ),
        (["--data.masking.share", "1.5"], "data.masking.share must be above 0 and below 1"),
        (
            ["--data.class_path", "qa_lightning.QADataModule"],
            "MaskedLanguageModule takes the batches of",
        ),
    ],
)
def test_mistakes_are_refused_in_a_line(
    files: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    flags: list[str],
    message: str,
) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    monkeypatch.chdir(tmp_path)
    Path("empty.txt").write_text("\n \n")
    Path("bad.txt").write_bytes(b"good\nb\xe4d\n")
    if "plain" in flags:
        tiny_folder(Path("plain"))
    if "decoder" in flags:
        tiny_folder(Path("decoder"))
        GPT2LMHeadModel(GPT2Config(vocab_size=100, n_embd=8, n_layer=1, n_head=1)).save_pretrained("decoder")
    arguments = [*command_of(fit_masked, files), *flags]
    if "qa_lightning.QADataModule" in flags:
        squad, dropped = str(files["squad"]), ("--data.recurring_spans.max_common", "1")
        at = arguments.index(dropped[0])
        arguments = [*arguments[:at], *arguments[at + 2 :], "--data.train_file", squad, "--data.validation_file", squad]
        arguments += ["--data.max_question_length", "8", "--data.doc_stride", "2"]
    assert main([*arguments, "--run_dir", "run"]) == 2
    error = capfd.readouterr().err
    assert f"error: {message}" in error
    assert "Traceback" not in error
    assert not Path("run").exists()


def test_a_question_token_that_there_is_not(files: dict[str, Path], tmp_path: Path, capfd: Any) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("data: {init_args: {question_token: '[Q]'}}")
    arguments = [*command_of(fit_text, files), "--config", str(config), "--run_dir", str(tmp_path / "run")]
    assert main(arguments) == 2
    assert "data.question_token: the tokenizer" in (error := capfd.readouterr().err)
    assert "has no token '[Q]'" in error


@pytest.mark.slow
@pytest.mark.parametrize("objective", [fit_masked, fit_text])
def test_two_processes_learn_what_one_learns(objective: Command, files: dict[str, Path], tmp_path: Path) -> None:
    """An epoch is one step: a batch of all windows, or of half of them in each process."""
    windows = 1
    for documents in range(6, 40):
        train = write_text(tmp_path / "train.txt", documents)
        data = TextDataModule(str(files["model"]), train_file=str(train), max_length=24, recurring_spans=EVERY_SPAN)
        data.setup("fit")
        counts = data.reports()["train"]
        windows = counts["windows"] + (counts["windows_dropped"] if objective is fit_masked else 0)
        if windows % 2 == 0:
            break
    dropout = "{hidden_dropout_prob: 0.0, attention_probs_dropout_prob: 0.0}"
    arguments = [*objective(files["model"], train, files["held"]), "--trainer.max_epochs", "3"]
    arguments += ["--model.config_overrides", dropout]
    arguments += ["--model.optimization.optimizer_type", "sgd", "--model.learning_rate", "0.5"]
    seen = []
    for processes in (1, 2):
        more = ["--data.batch_size", str(windows // processes), "--run_dir", str(tmp_path / str(processes))]
        if processes == 2:
            more += ["--trainer.strategy", "ddp", "--trainer.devices", "2"]
        run_command(*arguments, *more)
        checkpoint = torch.load(tmp_path / str(processes) / "checkpoints/last.ckpt", weights_only=True)
        assert checkpoint["global_step"] == 3
        metrics = json.loads((tmp_path / str(processes) / "metrics.json").read_text())
        seen.append((checkpoint["state_dict"], metrics))
    for name, values in seen[0][0].items():
        torch.testing.assert_close(seen[1][0][name], values, rtol=1e-4, atol=1e-5)
    assert seen[1][1]["val/loss"] == pytest.approx(seen[0][1]["val/loss"], rel=1e-4)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_same_texts_are_for_one_module_and_for_the_other(files: dict[str, Path], tmp_path: Path) -> None:
    data = TextDataModule(
        str(files["model"]), train_file=str(files["train"]), max_length=24, recurring_spans=EVERY_SPAN
    )
    kinds = []
    for module in (
        MaskedLanguageModule(str(files["model"]), max_length=24),
        QALightningModule(str(files["model"]), max_length=24),
        MaskedLanguageModule(str(files["model"]), max_length=24),
    ):
        trainer = make_trainer(tmp_path, max_steps=1)
        trainer.fit(module, data)
        kinds.append(type(data.splits["train"][0].dataset))
    assert kinds == [MaskedDataset, SpanDataset, MaskedDataset]

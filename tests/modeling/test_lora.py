"""Adapters of low rank: what they compute, what files hold of them, and what reads these."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForQuestionAnswering

from qa_lightning import Reader
from qa_lightning.callbacks.averaging import ExponentialMovingAverage
from qa_lightning.callbacks.checkpoint import RunCheckpoint
from qa_lightning.cli.main import main
from qa_lightning.modeling.lora import LoraSettings, find_targets
from qa_lightning.modeling.lora_training import LoraTraining, merged_weights
from qa_lightning.modeling.module import QALightningModule
from qa_lightning.modeling.network import quiet_transformers
from qa_lightning.modeling.optimization import Optimization
from qa_lightning.modeling.regularization import Regularization
from qa_lightning.utils.errors import UserError
from tests.cli.mistakes import error_of
from tests.commands import run_command
from tests.modeling.families import CONFIGS, LENGTH, VOCABULARY, config
from tests.tiny import fit_arguments, tiny_folder
from tests.training import NO_DROPOUT, SETTINGS, StopAt, make_data, make_module, make_trainer, trains

peft = pytest.importorskip("peft", reason="adapters need the package peft")

pytestmark = [*trains, pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")]

IDS = torch.arange(4, 20)[None]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base without a question-answering head."""
    return tiny_folder(tmp_path_factory.mktemp("model"), layers=2, head=False)


def fit(
    model: Path, squad: Path, run: Path, *callbacks: pl.Callback, resume: Path | None = None, **options: Any
) -> QALightningModule:
    """A training of an adapter in two epochs, unless the options say otherwise."""
    pl.seed_everything(0, verbose=False)
    theirs = {key: options.pop(key) for key in ("max_epochs", "max_steps", "precision") if key in options}
    options = {"learning_rate": 0.02, "lr_scheduler_type": "constant", "peft": LoraSettings(r=2)} | options
    module = make_module(resume or model, **options)
    trainer = make_trainer(run, *callbacks, **{"max_epochs": 2} | theirs)
    trainer.fit(module, make_data(model, train=squad, batch_size=3), ckpt_path=resume, weights_only=True)
    return module


@torch.no_grad()
def logits_of(network: Any) -> Tensor:
    was_training = network.training
    output = network.eval()(input_ids=IDS)
    network.train(was_training)
    return torch.stack([output.start_logits, output.end_logits])


@pytest.fixture(scope="module")
def trained(model: Path, squad: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tensor]:
    """The folder of a run, by a whole command, and the logits that its last weights give."""
    run = tmp_path_factory.mktemp("runs") / "run"
    arguments = [*fit_arguments(str(model), str(squad), str(squad)), "--data.version_2_with_negative", "true"]
    arguments += ["--model.peft.r", "2", "--model.peft.dropout", "0.1", "--model.learning_rate", "0.02"]
    assert main([*arguments, "--run_dir", str(run)]) == 0
    loaded = QALightningModule.load_from_checkpoint(run / "checkpoints/best.ckpt")
    return run, logits_of(loaded.model)


# What is computed


def adapted(family: str, **options: Any) -> tuple[Any, LoraTraining]:
    """A network of a family with a random adapter in it."""
    with torch.random.fork_rng(), quiet_transformers():
        torch.manual_seed(0)
        network = AutoModelForQuestionAnswering.from_config(config(family))
        adapter = LoraTraining(network, LoraSettings(r=2, **options), "base", None)
        for name in adapter.parameters:
            network.get_parameter(name).data.normal_(0, 0.5)
    return network, adapter


def test_a_rank_one_update_by_hand() -> None:
    network, _ = adapted("bert")
    network = AutoModelForQuestionAnswering.from_config(network.config)
    name = "bert.encoder.layer.0.attention.self.query"
    weight, bias = (getattr(network.get_submodule(name), kind).detach().clone() for kind in ("weight", "bias"))
    names = list(network.state_dict())
    settings = LoraSettings(r=1, alpha=3.0, target_modules=["query"])
    adapter = LoraTraining(network, settings, "base", None)
    a, b = torch.arange(16.0) / 10, torch.arange(16.0) - 8
    network.get_parameter(f"{name}.lora_A.default.weight").data.copy_(a[None])
    network.get_parameter(f"{name}.lora_B.default.weight").data.copy_(b[:, None])
    x = torch.linspace(-1, 1, 16)
    expected = weight @ x + bias + 3 * b * (a @ x)  # s = alpha/r = 3
    torch.testing.assert_close(network.get_submodule(name)(x), expected)
    merged = merged_weights(network, network.state_dict(), names, adapter.settings.scale)
    torch.testing.assert_close(merged[f"{name}.weight"], weight + 3 * torch.outer(b, a))
    assert list(merged) == names


def test_the_scale() -> None:
    assert LoraSettings(r=4).scale == 2
    assert LoraSettings(r=4, alpha=1).scale == 0.25
    assert LoraSettings(r=4, alpha=1, use_rslora=True).scale == 0.5


@pytest.mark.parametrize("family", CONFIGS)
def test_the_sum_gives_the_logits_of_the_adapter_in_every_family(family: str) -> None:
    network, adapter = adapted(family)
    inputs = {"input_ids": (torch.arange(2 * (LENGTH - 2)).view(2, -1) + 4) % VOCABULARY}
    if family == "longformer":
        inputs["global_attention_mask"] = (torch.arange(LENGTH - 2) < 3).long().expand(2, -1)
    expected = network.eval()(**inputs)
    (expected.start_logits + expected.end_logits).square().sum().backward()
    assert set(network.state_dict()) == set(adapter.parameters)
    assert {name for name, p in network.named_parameters() if p.requires_grad} == set(adapter.parameters)
    assert not [name for name in adapter.parameters if network.get_parameter(name).grad is None]
    with quiet_transformers():
        plain = AutoModelForQuestionAnswering.from_config(network.config)
    names = list(plain.state_dict())
    assert len(adapter.config.target_modules) >= 2
    plain.load_state_dict(merged_weights(network, network.state_dict(), names, adapter.settings.scale))
    found = plain.eval()(**inputs)
    torch.testing.assert_close(found.start_logits, expected.start_logits, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found.end_logits, expected.end_logits, rtol=1e-3, atol=1e-3)


def test_which_layers_have_an_adapter() -> None:
    network = AutoModelForQuestionAnswering.from_config(config("electra"))
    layer = "electra.encoder.layer.0."
    ends = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense")
    expected = [layer + end for end in (*ends, "intermediate.dense", "output.dense")]
    assert sorted(find_targets(network, "auto")) == sorted(expected)
    assert find_targets(network, ["output.dense", "query"]) == [
        *(layer + end for end in ("attention.output.dense", "output.dense", "attention.self.query")),
    ]
    assert find_targets(network, ["word_embeddings"]) == ["electra.embeddings.word_embeddings"]


# What files hold, and what reads them


def test_files_hold_adapter_and_head(trained: tuple[Path, Tensor], model: Path) -> None:
    run, _ = trained
    names = sorted(path.name for path in (run / "best_model").iterdir())
    ours = ["adapter_config.json", "adapter_model.safetensors", "qa_lightning.json"]
    assert names == [*ours, "tokenizer.json", "tokenizer_config.json"]
    values = json.loads((run / "best_model/adapter_config.json").read_text())
    assert (values["base_model_name_or_path"], values["modules_to_save"]) == (str(model.resolve()), ["qa_outputs"])
    for name in ("best", "last"):
        weights = torch.load(run / f"checkpoints/{name}.ckpt", weights_only=True)["state_dict"]
        assert all(".lora_" in key or key.startswith("model.qa_outputs.") for key in weights)
        assert len(weights) == 2 * 6 * 2 + 2
    assert len(load_file(run / "best_model/adapter_model.safetensors")) == 2 * 6 * 2 + 2


def test_peft_and_transformers_load_the_best_model(trained: tuple[Path, Tensor], model: Path) -> None:
    run, expected = trained
    with quiet_transformers():
        wrapped = peft.PeftModel.from_pretrained(
            AutoModelForQuestionAnswering.from_pretrained(model), run / "best_model"
        )
        automatic = peft.AutoPeftModelForQuestionAnswering.from_pretrained(run / "best_model")
        plain = AutoModelForQuestionAnswering.from_pretrained(run / "best_model")
    for network in (wrapped, automatic, plain):
        assert torch.equal(logits_of(network), expected)


def test_readers_have_the_sum(trained: tuple[Path, Tensor]) -> None:
    run, expected = trained
    for name in (run, run / "best_model", run / "checkpoints/best.ckpt"):
        reader = Reader.from_pretrained(name)
        assert not [key for key, _ in reader.runner.network.named_parameters() if "lora" in key]
        torch.testing.assert_close(logits_of(reader.runner.network), expected)


def test_every_verb_takes_them(
    trained: tuple[Path, Tensor], squad: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, expected = trained
    best = run / "best_model"
    assert main(["validate", "--run_dir", str(run)]) == 0
    arguments = ["--model.model_name_or_path", str(best), "--data.validation_file", str(squad)]
    lengths = ["--data.max_length", "48", "--data.max_question_length", "12", "--data.doc_stride", "8"]
    lengths += ["--data.version_2_with_negative", "true"]
    assert main(["validate", *arguments, *lengths, "--trainer.default_root_dir", str(tmp_path / "validate")]) == 0
    (alone,) = tmp_path.glob("validate/**/metrics.json")
    figures = [json.loads(path.read_text()) for path in (run / "validate/metrics.json", alone)]
    for values in figures:
        before = json.loads((run / "metrics.json").read_text())
        assert values["val/best_f1"] == before["val/best_f1"]
        assert values["val/loss"] == pytest.approx(before["val/loss"], rel=1e-4)
    (tmp_path / "text").write_text("Ada wrote the first program in London.")
    assert main(["ask", "Who wrote it?", "--model", str(best), "--context", str(tmp_path / "text")]) == 0
    for name, source in (("plain", best), ("checkpoint", run / "checkpoints/best.ckpt")):
        assert main(["export", str(source), "--format", "safetensors", "--output", str(tmp_path / name)]) == 0
        with quiet_transformers():
            plain = AutoModelForQuestionAnswering.from_pretrained(tmp_path / name)
        torch.testing.assert_close(logits_of(plain), expected)
    assert "lora" not in capsys.readouterr().err


@pytest.mark.slow
def test_an_adapter_is_exported_to_onnx(trained: tuple[Path, Tensor], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    run, _ = trained
    assert main(["export", str(run), "--format", "onnx", "--output", str(tmp_path / "onnx")]) == 0
    question = {"question": "Who wrote?", "context": "Ada wrote the first program."}
    exported, ours = (Reader.from_pretrained(place)(question, top_k=3) for place in (tmp_path / "onnx", run))
    assert [answer["answer"] for answer in exported] == [answer["answer"] for answer in ours]


def test_an_adapter_on_the_hub_has_a_tokenizer_of_its_own(
    trained: tuple[Path, Tensor], model: Path, tmp_path: Path
) -> None:
    cached = tmp_path / "hub/models--someone--adapter"
    shutil.copytree(trained[0] / "best_model", cached / "snapshots" / ("0" * 40))
    (cached / "refs").mkdir()
    (cached / "refs/main").write_text("0" * 40)
    tokenizer_config = cached / "snapshots" / ("0" * 40) / "tokenizer_config.json"
    tokenizer_config.write_text(json.dumps({**json.loads(tokenizer_config.read_text()), "model_max_length": 77}))
    program = """
from qa_lightning.pretrained.loading import load_tokenizer
print(load_tokenizer("someone/adapter").model_max_length)
"""
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    found = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout == "77\n"


def test_a_second_round(trained: tuple[Path, Tensor], squad: Path, tmp_path: Path) -> None:
    """Goes on with the adapter, or trains all weights, in which it is contained."""
    run, expected = trained
    for name in ("best_model", "checkpoints/best.ckpt"):
        again = make_module(run / name, peft=LoraSettings(r=2))
        assert torch.equal(logits_of(again.model), expected)
        assert again.adapter is not None
        assert not again.head_is_missing
        whole = make_module(run / name)
        assert whole.adapter is None
        torch.testing.assert_close(logits_of(whole.model), expected)
        assert all(parameter.requires_grad for parameter in whole.model.parameters())
    start = logits_of(again.model)
    make_trainer(tmp_path, max_steps=1).fit(again, make_data(run / "best_model", train=squad))
    assert not torch.equal(logits_of(again.model), start)
    again.save_pretrained(tmp_path / "second")
    values = [
        json.loads((folder / "adapter_config.json").read_text()) for folder in (run / "best_model", tmp_path / "second")
    ]
    assert values[0] | {"lora_dropout": 0.0} == values[1]
    torch.testing.assert_close(logits_of(make_module(tmp_path / "second").model), logits_of(again.model))


def test_the_sum_can_be_the_best_model(model: Path, squad: Path, tmp_path: Path) -> None:
    overrides = {"hidden_act": "relu"}
    module = fit(model, squad, tmp_path, max_steps=3, peft=LoraSettings(r=2, merge=True), config_overrides=overrides)
    module.save_pretrained(tmp_path / "best")
    assert (tmp_path / "best/model.safetensors").is_file()
    assert not (tmp_path / "best/adapter_config.json").exists()
    with quiet_transformers():
        network, found = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "best", output_loading_info=True)
    assert not found["missing_keys"]
    assert not found["unexpected_keys"]
    torch.testing.assert_close(logits_of(network), logits_of(module.model))


def test_what_differs_from_the_base_s_configuration_is_kept(model: Path, squad: Path, tmp_path: Path) -> None:
    module = fit(model, squad, tmp_path, max_steps=1, config_overrides={"hidden_act": "relu"})
    module.save_pretrained(tmp_path / "best")
    reader = Reader.from_pretrained(tmp_path / "best")
    assert reader.runner.network.config.hidden_act == "relu"
    torch.testing.assert_close(logits_of(reader.runner.network), logits_of(module.model))


# A class of the user's own that wraps the network by itself


class Wrapping(QALightningModule):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        settings = peft.LoraConfig(r=2, target_modules=["query", "value"], task_type="QUESTION_ANS", use_dora=True)
        self.model = peft.get_peft_model(self.model, settings)


def test_a_network_that_a_user_wrapped_is_read(model: Path, squad: Path, tmp_path: Path) -> None:
    module = Wrapping(str(model), learning_rate=0.05, **SETTINGS)
    trainer = make_trainer(tmp_path, RunCheckpoint(), max_steps=4)
    trainer.fit(module, make_data(model, train=squad))
    expected = logits_of(module.model)
    module.save_pretrained(tmp_path / "best")
    path = tmp_path / "checkpoints/last.ckpt"
    for name in (tmp_path / "best", path):
        torch.testing.assert_close(logits_of(Reader.from_pretrained(name).runner.network), expected)
        torch.testing.assert_close(logits_of(make_module(name).model), expected)
    again = Wrapping.load_from_checkpoint(path)
    assert torch.equal(logits_of(again.model), expected)
    with pytest.raises(UserError, match="that of a class that wraps its network by peft"):
        QALightningModule.load_from_checkpoint(path)


# Trainings


def test_a_training_that_resumes_ends_with_the_same_weights(model: Path, squad: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"peft": LoraSettings(r=2, dropout=0.3), "optimization": Optimization(layer_decay=0.7)}

    def train(run: Path, *callbacks: pl.Callback, resume: Path | None = None) -> QALightningModule:
        averaging = ExponentialMovingAverage(0.5)
        return fit(model, squad, run, *callbacks, RunCheckpoint(), averaging, resume=resume, **options)

    whole = train(tmp_path / "whole")
    with pytest.raises(SystemExit):
        train(tmp_path / "run", StopAt(KeyboardInterrupt(), 4))
    path = tmp_path / "run/checkpoints/last.ckpt"
    state = torch.load(path, weights_only=True)
    assert state["state_dict"].keys() == state["current_model_state"].keys() == whole.state_dict().keys()
    resumed = train(tmp_path / "run", resume=path)
    assert all(torch.equal(value, whole.state_dict()[name]) for name, value in resumed.state_dict().items())
    loaded = QALightningModule.load_from_checkpoint(path)
    assert loaded.hparams["peft"] == asdict(options["peft"])


def test_only_adapter_and_head_are_trained(model: Path, squad: Path, tmp_path: Path) -> None:
    before = dict(make_module(model).model.named_parameters())
    module = fit(model, squad, tmp_path, max_steps=4, weight_decay=0.1)
    after = {name.replace(".base_layer.", "."): value for name, value in module.model.named_parameters()}
    assert all(torch.equal(value, after[name]) for name, value in before.items() if not name.startswith("qa_outputs"))
    assert not torch.equal(before["qa_outputs.weight"], after["qa_outputs.weight"])
    assert all(bool(value.any()) for name, value in after.items() if "lora_B" in name)


@pytest.mark.parametrize(
    "options",
    [
        {"precision": "bf16-mixed", "regularization": Regularization(r_drop=1.0, awp=0.5, smart=0.5)},
        {"precision": "bf16-true", "packing": True},
        {"packing": True, "optimization": Optimization(unfreeze_every_n_steps=1, head_learning_rate=0.05)},
        {"gradient_checkpointing": True, "optimization": Optimization(optimizer_type="adafactor")},
    ],
    ids=str,
)
def test_it_goes_with_other_techniques(model: Path, squad: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    module = fit(model, squad, tmp_path, max_steps=4, **options)
    moved = [name for name, value in module.model.named_parameters() if "lora_B" in name and bool(value.any())]
    assert len(moved) == 12
    module.save_pretrained(tmp_path / "best")
    rounding = {"rtol": 0.1, "atol": 0.1} if options.get("precision") == "bf16-true" else {}
    found = logits_of(Reader.from_pretrained(tmp_path / "best").runner.network)
    torch.testing.assert_close(found, logits_of(module.model).float(), **rounding)


@pytest.mark.slow
def test_two_processes_train_as_one_does(model: Path, squad: Path, tmp_path: Path) -> None:
    """An epoch is a batch of all windows, or of half of them in each process."""
    settings = [item for key, value in SETTINGS.items() for item in (f"--data.{key}", str(value).lower())]
    arguments = [*fit_arguments(str(model), str(squad), str(squad)), *settings, "--trainer.max_epochs", "4"]
    arguments += ["--model.config_overrides", str(NO_DROPOUT), "--model.lr_scheduler_type", "constant"]
    arguments += ["--model.learning_rate", "0.2", "--trainer.limit_val_batches", "0", "--model.peft.r", "2"]
    arguments += ["--model.optimization.optimizer_type", "sgd"]
    data = make_data(model, train=squad, batch_size=1)
    data.setup("fit")
    windows, seen = len(list(data.train_dataloader())), []
    for processes in (1, 2):
        run = tmp_path / str(processes)
        devices = ["--trainer.strategy", "ddp", "--trainer.devices", "2"] if processes == 2 else []
        run_command(*arguments, *devices, "--data.batch_size", str(-(-windows // processes)), "--run_dir", str(run))
        seen.append(torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"])
    for name, weights in seen[0].items():
        torch.testing.assert_close(weights, seen[1][name], rtol=1e-3, atol=5e-5)
        assert "lora_B" not in name or bool(weights.any())


def test_a_log_says_how_much_is_trained(
    model: Path, squad: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = [*fit_arguments(str(model), str(squad), str(squad)), "--model.peft.r", "1"]
    arguments += ["--model.peft.target_modules", "[query]", "--trainer.max_steps", "1"]
    arguments += ["--data.version_2_with_negative", "true"]
    assert main([*arguments, "--run_dir", str(tmp_path)]) == 0
    # Two layers with a row and a column of 16 each, and a head of two rows and biases.
    assert "model.peft trains 98 of " in caplog.text
    assert "adapters at query, and qa_outputs in full" in caplog.text


# Mistakes


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("peft.r -1", "model.peft.r must be at least 0, not -1"),
        ("peft.alpha 8", "model.peft.alpha does nothing without model.peft.r"),
        ("peft.r 2 peft.alpha 0", "model.peft.alpha must be above 0, not 0.0"),
        ("peft.r 2 peft.dropout 1", "model.peft.dropout must be at least 0 and below 1"),
        (
            "peft.r 2 peft.target_modules [queri]",
            "a bert model has no 'queri' to put an adapter to; there are dense, key",
        ),
        ("peft.r 2 peft.target_modules [qa_outputs]", "a bert model has no 'qa_outputs'"),
        ("peft.r 2 peft.merge true peft.quantization 4bit", "weights in few bits cannot hold the sum"),
        ("peft.r 2 optimization.freeze_layers 1", "model.optimization.freeze_layers makes no sense with model.peft"),
        ("peft.r 2 optimization.mixout 0.5", "model.optimization.mixout makes no sense with model.peft"),
        ("peft.r 2 optimization.pretrained_decay 0.5", "pretrained_decay makes no sense with model.peft"),
        ("peft.r 2 optimization.reinit_layers 1", "reinit_layers makes no sense with model.peft"),
        ("peft.r 2 regularization.fgm 0.5", "model.regularization.fgm moves the table of word embeddings"),
    ],
)
def test_mistakes_end_in_a_line(
    model: Path, tmp_path: Path, flags: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before data are read: there is no such file."""
    arguments = fit_arguments(str(model), str(tmp_path / "none.json"), str(tmp_path / "none.json"))
    names = flags.split()
    for name, value in zip(names[::2], names[1::2], strict=True):
        arguments += [f"--model.{name}", value]
    assert message in error_of([*arguments, "--run_dir", str(tmp_path / "run")], capsys)


def test_few_bits_need_a_card(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before data are read: there is no such file."""
    arguments = fit_arguments(str(model), str(tmp_path / "none.json"), str(tmp_path / "none.json"))
    arguments += [
        "--trainer.accelerator",
        "cpu",
        "--model.peft.r",
        "2",
        "--model.peft.quantization",
        "4bit",
        "--run_dir",
        str(tmp_path / "run"),
    ]
    assert "model.peft.quantization: 4bit needs a CUDA card, and this runs on cpu" in error_of(arguments, capsys)


def test_an_adapter_starts_from_pretrained_weights_that_have_a_name(model: Path, squad: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.config_name starts from random ones"):
        make_module(None, config_name=str(model), tokenizer_name=str(model), peft=LoraSettings(r=2))
    fit(model, squad, tmp_path, RunCheckpoint(), max_steps=1, peft=LoraSettings())
    with pytest.raises(UserError, match="needs a base that checkpoints can name"):
        make_module(tmp_path / "checkpoints/last.ckpt", peft=LoraSettings(r=2))


def test_settings_of_an_adapter_stay(trained: tuple[Path, Tensor]) -> None:
    best = trained[0] / "best_model"
    with pytest.raises(UserError, match=r"^model\.peft\.r: the adapter in .* has 2, not 4"):
        make_module(best, peft=LoraSettings(r=4))
    with pytest.raises(UserError, match=r"^model\.peft\.alpha: the adapter in .* has 4\.0, not 8"):
        make_module(best, peft=LoraSettings(r=2, alpha=8))
    with pytest.raises(UserError, match=r"its adapter is of other layers than model\.peft\.target_modules"):
        make_module(best, peft=LoraSettings(r=2, target_modules=["query"]))


def test_a_training_with_an_adapter_resumes_with_one_alone(
    trained: tuple[Path, Tensor], model: Path, squad: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="holds an adapter without its base: give model"):
        QALightningModule.load_from_checkpoint(trained[0] / "checkpoints/last.ckpt", peft={"r": 0})


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"r": 4}, "model.peft.r: the training that resumes had 2, not 4"),
        ({"alpha": 9}, "model.peft.alpha: the training that resumes had 4.0, not 9"),
        ({"use_rslora": True}, "model.peft.use_rslora: the training that resumes had False, not True"),
        ({"target_modules": ["query"]}, "model.peft.target_modules: the training that resumes had"),
    ],
)
def test_a_training_resumes_with_the_adapter_it_had(
    trained: tuple[Path, Tensor], model: Path, other: dict[str, Any], message: str
) -> None:
    checkpoint = torch.load(trained[0] / "checkpoints/last.ckpt", weights_only=True)
    settings = {"r": 2, "dropout": 0.1}
    make_module(model, peft=settings).on_load_checkpoint(checkpoint)
    with pytest.raises(UserError, match=re.escape(message)):
        make_module(model, peft=settings | other).on_load_checkpoint(checkpoint)


def edit(folder: Path, **values: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"base_model_name_or_path": None}, "an adapter that names no base model"),
        ({"base_model_name_or_path": "/no/such/folder"}, "which is not within reach: /no/such/folder: no such model"),
        ({"modules_to_save": "qa_outputs"}, "damaged: modules_to_save cannot be 'qa_outputs'"),
        ({"modules_to_save": None}, "has no question-answering head"),
        ({"megatron_config": {}}, "an adapter of Megatron's layers"),
        ({"peft_type": "NONE"}, "the adapter does not fit its base"),
        ({"r": 3}, "the adapter does not fit its base"),
        ({"target_modules": ["query"]}, "the adapter does not fit its base"),
        (
            {"init_lora_weights": "pissa_niter_16"},
            "it began with pissa_niter_16, which changes the weights of the base",
        ),
    ],
)
def test_damaged_adapters(trained: tuple[Path, Tensor], tmp_path: Path, values: dict[str, Any], message: str) -> None:
    folder = shutil.copytree(trained[0] / "best_model", tmp_path / "copy")
    edit(folder, **values)
    with pytest.raises(UserError, match=message):
        Reader.from_pretrained(folder)


def test_no_pickle_is_loaded(trained: tuple[Path, Tensor], tmp_path: Path) -> None:
    folder = shutil.copytree(trained[0] / "best_model", tmp_path / "copy")
    weights = load_file(folder / "adapter_model.safetensors")
    (folder / "adapter_model.safetensors").unlink()
    torch.save(weights, folder / "adapter_model.bin")
    with pytest.raises(UserError, match=r"an adapter without adapter_model\.safetensors"):
        Reader.from_pretrained(folder)


def test_without_peft_there_is_a_line_that_installs_it(
    trained: tuple[Path, Tensor], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    line = r"peft is not installed: pip install 'qa_lightning\[peft\]'"
    with pytest.raises(UserError, match=line):
        make_module(model, peft=LoraSettings(r=2))
    with pytest.raises(UserError, match=line):
        Reader.from_pretrained(trained[0] / "best_model")

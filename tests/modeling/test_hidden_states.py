"""Hidden states of a student and its teacher: against transformers' own, and in whole trainings."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from qa_lightning.cli.main import main
from qa_lightning.modeling import attention
from qa_lightning.modeling.distillation import Distillation
from qa_lightning.modeling.hidden_states import HiddenStateLoss
from qa_lightning.modeling.module import QALightningModule
from qa_lightning.modeling.regularization import Regularization
from qa_lightning.records import Batch
from qa_lightning.utils.errors import UserError
from tests.commands import check_refused_before_data
from tests.modeling.test_distillation import step, taught_batch
from tests.teachers import letters_folder
from tests.tiny import fit_arguments, tiny_folder, write_squad
from tests.training import NO_DROPOUT, make_data, make_module, make_trainer, trains
from tests.waits import Waits

pytestmark = trains


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher of four layers of the student's size."""
    return tiny_folder(tmp_path_factory.mktemp("deep"), layers=4)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student of two layers."""
    return tiny_folder(tmp_path_factory.mktemp("student"), layers=2)


def taught_module(student: Path, deep: Path, *, dropout: bool = False, **options: Any) -> QALightningModule:
    """A module that watches its layers, as at the start of a training."""
    names = ("hidden_loss", "hidden_layers", "hidden_weight")
    values = {name: options.pop(name) for name in names if name in options}
    section = Distillation(str(deep), **{"hidden_weight": 0.3} | values)
    if not dropout:
        options["config_overrides"] = NO_DROPOUT
    module = make_module(student, teacher=section, **options)
    term = term_of(module)
    term.watch(module.model, module.tokenizer, False)
    return module


def term_of(module: QALightningModule) -> HiddenStateLoss:
    (term,) = (term for term in module.loss_terms if isinstance(term, HiddenStateLoss))
    return term


def states(folder: Path, batch: Batch) -> list[Tensor]:
    """What each layer of a model gives, by transformers itself, in evaluation."""
    from transformers import AutoModelForQuestionAnswering

    network = AutoModelForQuestionAnswering.from_pretrained(folder).eval()
    with torch.no_grad():
        return list(network(**batch.inputs, output_hidden_states=True).hidden_states[1:])


@pytest.mark.parametrize("distance", ["mse", "cosine"])
@pytest.mark.parametrize("layers", [None, {1: 0}], ids=["spread", "given"])
def test_the_distance_is_that_of_what_transformers_gives(
    student: Path, deep: Path, distance: str, layers: dict[int, int] | None
) -> None:
    batch = taught_batch()
    logged, gradients = step(taught_module(student, deep, hidden_loss=distance, hidden_layers=layers), batch)
    ours, theirs = states(student, batch), states(deep, batch)
    expected = []
    for row, length in enumerate((8, 10, 8)):
        for layer, other in (layers or {0: 1, 1: 3}).items():
            for token in range(length):
                a, b = ours[layer][row, token], theirs[other][row, token]
                far = ((a - b) ** 2).mean() if distance == "mse" else 1 - (a @ b) / (a.norm() * b.norm())
                expected.append((far / length / 3 / len(layers or {0: 1, 1: 3})).item())
    assert logged["train/hidden_states"] == pytest.approx(0.3 * sum(expected), rel=1e-4)
    alone = step(make_module(student, config_overrides=NO_DROPOUT, teacher=Distillation("a")), batch)[1]
    assert (gradients - alone).abs().max() > 1e-4


@pytest.mark.parametrize("options", [{"packing": True}, {"attn_implementation": "eager"}], ids=["packed", "eager"])
def test_packing_and_attention_change_nothing(student: Path, deep: Path, options: dict[str, Any]) -> None:
    r_drop = Regularization(r_drop=1.0)  # whose second pass is not looked at
    batch = taught_batch()
    logged, gradients = step(taught_module(student, deep, regularization=r_drop), batch)
    batch.row_tokens = 32 if "packing" in options else None
    others, other_gradients = step(taught_module(student, deep, regularization=r_drop, **options), batch)
    assert others == pytest.approx(logged, rel=1e-4, abs=1e-6)
    torch.testing.assert_close(other_gradients, gradients, rtol=1e-3, atol=1e-5)


def test_the_states_are_those_of_the_first_pass(student: Path, deep: Path) -> None:
    batch = taught_batch()
    alone = step(taught_module(student, deep, dropout=True), batch)[0]
    beside = step(taught_module(student, deep, dropout=True, regularization=Regularization(r_drop=1.0, fgm=0.1)), batch)
    assert beside[0]["train/hidden_states"] == pytest.approx(alone["train/hidden_states"])


def test_rows_that_fill_a_batch_do_not_count(student: Path, deep: Path) -> None:
    batch = taught_batch()
    filled = replace(
        batch, inputs={name: torch.cat([values, values[:1].expand(2, -1)]) for name, values in batch.inputs.items()}
    )
    found = [step(taught_module(student, deep), each)[0] for each in (batch, filled)]
    assert found[1] == pytest.approx(found[0], rel=1e-5)


@pytest.mark.parametrize("packing", [False, True])
def test_the_host_does_not_wait_for_a_gpu(
    student: Path, deep: Path, packing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "_is_on_host", lambda _: False)
    module = taught_module(student, deep, packing=packing)
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    module._training_has_begun = False  # whether a loss is finite is seen later on a GPU
    batch = replace(taught_batch(), row_tokens=32 if packing else None)
    module.training_step(batch, 0)  # which loads the teacher
    with Waits() as waits:
        module.training_step(batch, 0).backward()
    assert waits.seen == []


def test_a_module_that_has_been_trained_can_be_copied(student: Path, deep: Path) -> None:
    module = taught_module(student, deep)
    module.model.train()
    module(taught_batch())  # whose states are kept
    copied = copy.deepcopy(module)
    assert copied.teachers[0] is module.teachers[0]  # whose network is not copied
    sent = pickle.loads(pickle.dumps(term_of(module)))
    assert sent.teacher.fingerprint == module.teachers[0].fingerprint
    assert len(pickle.dumps(module.teachers)) < 50_000  # without its network
    assert set(copied.state_dict()) == set(module.state_dict())
    assert not any("teacher" in name for name in module.state_dict())


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_half_precision(student: Path, deep: Path, tmp_path: Path, precision: Any) -> None:
    squad = write_squad(tmp_path / "squad.json")
    module = make_module(student, teacher=Distillation(str(deep), hidden_weight=1.0, hidden_loss="cosine"))
    trainer = make_trainer(tmp_path, max_steps=2, precision=precision)
    trainer.fit(module, make_data(student, train=squad, version_2_with_negative=True))
    assert 0 < trainer.callback_metrics["train/hidden_states"] < 2


# Whole commands


def test_a_training_that_was_stopped_in_mid_epoch_ends_with_the_same_weights(
    student: Path, deep: Path, tmp_path: Path
) -> None:
    squad = str(write_squad(tmp_path / "squad.json", copies=2))
    section = {"model_name_or_path": str(deep), "hidden_weight": 0.2, "hidden_layers": {0: 0, 1: 3}}
    (tmp_path / "taught.yaml").write_text(yaml.safe_dump({"model": {"teacher": section}}))
    first, *others = fit_arguments(str(student), squad, squad)
    command = [first, "--config", str(tmp_path / "taught.yaml"), *others, "--model.lr_scheduler_type", "constant"]
    command += ["--model.learning_rate", "0.01", "--trainer.max_epochs", "2"]
    run, whole = tmp_path / "run", tmp_path / "whole"
    assert main([*command, "--run_dir", str(whole)]) == 0
    assert main([*command, "--trainer.max_steps", "4", "--run_dir", str(run)]) == 0
    assert main(["fit", "--run_dir", str(run), "--ckpt_path", "last", "--trainer.max_steps", "6"]) == 0
    ours, theirs = (
        torch.load(path / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for path in (run, whole)
    )
    assert set(theirs) == set(make_module(student).state_dict())
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    (path,) = whole.rglob("metrics.csv")
    assert "train/hidden_states" in path.read_text().splitlines()[0]


def test_mistakes_end_before_data_are_read(
    student: Path, deep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wide, letters = tiny_folder(tmp_path / "wide", hidden_size=32), letters_folder(tmp_path / "letters")
    for teacher, layers, message in (
        (letters, None, f"teacher.hidden_weight: the teacher {letters} has another tokenizer"),
        (wide, None, f"teacher.hidden_weight: hidden states have 32 elements in the teacher {wide} and 16 in"),
        (deep, "{0: 4}", f"teacher.hidden_layers: there is no layer 4 in the teacher {deep}, whose layers are 0 to 3"),
        (deep, "{2: 0}", "teacher.hidden_layers: there is no layer 2 in the student, whose layers are 0 to 1"),
    ):
        flags = ["--model.teacher.model_name_or_path", str(teacher), "--model.teacher.hidden_weight", "1"]
        flags += ["--model.teacher.hidden_layers", layers] if layers else []
        check_refused_before_data(student, flags, message, tmp_path / "run", capsys)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ({"hidden_weight": -1.0}, {}, "teacher.hidden_weight must be at least 0"),
        ({"hidden_weight": 1.0, "model_name_or_path": ["a", "b"]}, {}, "teacher.hidden_weight is for one teacher"),
        ({"hidden_weight": 1.0, "model_name_or_path": None}, {}, "teacher.hidden_weight is for one teacher"),
        ({"hidden_layers": {0: 0}}, {}, "teacher.hidden_layers needs"),
        ({"hidden_layers": {}, "hidden_weight": 1.0}, {}, "teacher.hidden_layers needs"),
        ({"hidden_loss": "mae"}, {}, "teacher.hidden_loss is mse or cosine, not 'mae'"),
        ({"hidden_weight": 1.0}, {"gradient_checkpointing": True}, "teacher.hidden_weight does not work with grad"),
        ({"hidden_weight": 1.0}, {"torch_compile": True}, "teacher.hidden_weight does not work with torch_compile"),
    ],
)
def test_contradictions(student: Path, values: dict[str, Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        make_module(student, teacher=Distillation(**{"model_name_or_path": "a"} | values), **options)

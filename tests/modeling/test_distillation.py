"""Distillation: the divergence by hand, and trainings with one teacher or several."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
import yaml
from torch import Tensor, tensor

from qa_lightning.cli.main import main
from qa_lightning.modeling.distillation import Distillation, divergence_from_teachers
from qa_lightning.modeling.loss import LossConfig
from qa_lightning.modeling.module import QALightningModule
from qa_lightning.modeling.regularization import Regularization
from qa_lightning.modeling.teacher import TeacherModel
from qa_lightning.pretrained.loading import load_tokenizer
from qa_lightning.records import Batch
from qa_lightning.utils.errors import UserError
from tests.commands import check_refused_before_data, check_two_processes
from tests.modeling.test_module import make_batch
from tests.teachers import letters_folder
from tests.tiny import fit_arguments, tiny_folder, write_squad
from tests.training import NO_DROPOUT, SETTINGS, Watch, make_data, make_module, make_trainer, trains
from tests.waits import Waits

pytestmark = trains

NEVER = -math.inf


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A larger network with the student's tokenizer."""
    return tiny_folder(tmp_path_factory.mktemp("teacher"), hidden_size=32, layers=2)


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with another tokenizer."""
    return letters_folder(tmp_path_factory.mktemp("letters"))


def step(module: QALightningModule, batch: Batch) -> tuple[dict[str, float], Tensor]:
    """What a training step logs, and its gradients."""
    logged: dict[str, float] = {}
    module.log = lambda name, value, **_: logged.update({name: value.item()})  # type: ignore[method-assign]
    module.zero_grad()
    torch.manual_seed(0)
    loss = module.training_step(batch, 0)
    loss.backward()
    logged["sum"] = loss.item()
    return logged, torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])


def write_ensemble_file(folder: Path, members: dict[str, float]) -> Path:
    """Writes an ensemble's folder without looking at its members."""
    folder.mkdir()
    listed = [{"model": model, "weight": weight} for model, weight in members.items()]
    (folder / "ensemble.json").write_text(json.dumps({"members": listed}))
    return folder


def taught_batch(teachers: int = 1) -> Batch:
    """Windows with predictions of teachers."""
    batch = make_batch(starts=[[5], [-1], [7]], ends=[[6], [-1], [7]], lengths=[8, 10, 8])
    torch.manual_seed(1)
    logits = torch.randn(teachers, 2, 3, 10).masked_fill(batch.inputs["attention_mask"] == 0, NEVER)
    return replace(batch, teacher_logits=logits.log_softmax(-1))


# By hand


def test_divergence_and_its_gradient_by_hand() -> None:
    three = 2 * math.log(3)  # at temperature 2, ¾ and ¼
    start, end = (tensor([values], requires_grad=True) for values in ([0.0, 0.0, 5.0], [three, 0.0, 5.0]))
    taught = tensor([[[[three, 0.0, NEVER]], [[0.0, 0.0, NEVER]]]])
    mask = tensor([[True, True, False]])
    found = divergence_from_teachers((start, end), taught, mask, 2.0)
    of_start = 3 / 4 * math.log(3 / 2) + 1 / 4 * math.log(1 / 2)
    of_end = 1 / 2 * math.log(2 / 3) + 1 / 2 * math.log(2)
    assert found.tolist() == pytest.approx([(of_start + of_end) / 2])
    found.sum().backward()
    # (q - p) / temperature, of which a start and an end are half each
    assert start.grad is not None
    assert end.grad is not None
    assert start.grad[0].tolist() == pytest.approx([-1 / 16, 1 / 16, 0])
    assert end.grad[0].tolist() == pytest.approx([1 / 16, -1 / 16, 0])


def test_several_teachers_are_the_mean_of_their_probabilities_and_the_silent_count_for_nothing() -> None:
    of_one, of_other = tensor([0.75, 0.25]).log(), tensor([0.25, 0.75]).log()
    nothing = tensor([NEVER, NEVER])
    # Windows: both teachers; the first only; none; a teacher that is sure.
    starts = [
        torch.stack([of_one, of_one, nothing, tensor([0.0, NEVER])]),
        torch.stack([of_other, nothing, nothing, nothing]),
    ]
    taught = torch.stack([torch.stack([start, start]) for start in starts])
    logits = torch.zeros(4, 2, requires_grad=True)
    found = divergence_from_teachers((logits, logits), taught, torch.ones(4, 2, dtype=torch.bool), 1.0)
    of_first = 3 / 4 * math.log(3 / 2) + 1 / 4 * math.log(1 / 2)
    assert found.tolist() == pytest.approx([0, of_first, 0, math.log(2)], abs=1e-6)
    found.sum().backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, tensor([[0, 0], [-0.25, 0.25], [0, 0], [-0.5, 0.5]]))


def test_teachers_that_count_differently_by_hand() -> None:
    of_first, of_second, nothing = tensor([0.75, 0.25]).log(), tensor([0.0, NEVER]), tensor([NEVER, NEVER])
    starts = [torch.stack([of_first, of_first, nothing]), torch.stack([of_second, nothing, nothing])]
    taught = torch.stack([torch.stack([start, start]) for start in starts])
    zero, mask = torch.zeros(3, 2), torch.ones(3, 2, dtype=torch.bool)
    found = divergence_from_teachers((zero, zero), taught, mask, 1.0, (0.8, 0.2))
    # Both: 0.8 · 0.75 + 0.2 = 0.8; the first only, by itself; none.
    expected = [p * math.log(2 * p) + (1 - p) * math.log(2 - 2 * p) for p in (0.8, 0.75)]
    assert found.tolist() == pytest.approx([*expected, 0], abs=1e-6)


def test_an_ensemble_teaches_by_its_members(tmp_path: Path) -> None:
    for name, members in (("both", {"./a": 1, "./b": 3}), ("single", {"./c": 1, "./d": 0})):
        write_ensemble_file(tmp_path / name, members)
    both, single = str(tmp_path / "both"), str(tmp_path / "single")
    assert Distillation(both).members == [(f"{both}/a", 0.25), (f"{both}/b", 0.75)]
    assert [each.source for each in Distillation(both).teachers()] == [f"{both}/a", f"{both}/b"]
    assert Distillation([both, "x"]).members == [(f"{both}/a", 0.125), (f"{both}/b", 0.375), ("x", 0.5)]
    assert Distillation(single, hidden_weight=1.0).names == [f"{single}/c"]
    with pytest.raises(UserError, match="hidden_weight is for one teacher"):
        Distillation(both, hidden_weight=1.0).check()


def test_the_loss_is_the_weighted_sum(folder: Path) -> None:
    batch = taught_batch(2)
    plain = step(make_module(folder, config_overrides=NO_DROPOUT), replace(batch, teacher_logits=None))[0]
    section = Distillation(["a", "b"], temperature=3.0, weight=0.7, gold_weight=0.2)
    module = make_module(folder, config_overrides=NO_DROPOUT, teacher=section)
    logged, _ = step(module, batch)
    assert batch.teacher_logits is not None
    with torch.no_grad():
        divergence = divergence_from_teachers(
            module(batch), batch.teacher_logits, batch.inputs["attention_mask"] > 0, 3.0
        )
    assert logged["train/loss"] == pytest.approx(plain["train/loss"])
    assert logged["train/teacher"] == pytest.approx(0.7 * 9 * divergence.mean().item())
    assert logged["sum"] == pytest.approx(0.2 * plain["train/loss"] + logged["train/teacher"])


def test_beside_label_smoothing_and_r_drop_all_losses_of_golds_have_their_weight(folder: Path) -> None:
    batch, loss = taught_batch(), LossConfig(label_smoothing=0.1)
    r_drop = Regularization(r_drop=1.0)
    logged = {
        weight: step(
            make_module(folder, loss=loss, regularization=r_drop, teacher=Distillation("a", gold_weight=weight)), batch
        )[0]
        for weight in (0.0, 0.5, 1.0)
    }
    sums = [logged[weight]["sum"] for weight in (0.0, 0.5, 1.0)]
    assert sums[1] == pytest.approx((sums[0] + sums[2]) / 2, rel=1e-5)
    assert sums[0] < sums[2]


@pytest.mark.parametrize("options", [{"packing": True}, {"attn_implementation": "eager"}], ids=["packed", "eager"])
def test_packing_and_attention_change_nothing(folder: Path, options: dict[str, Any]) -> None:
    plain, other = (
        make_module(folder, config_overrides=NO_DROPOUT, teacher=Distillation("a"), **more) for more in ({}, options)
    )
    batch = taught_batch()
    logged, gradients = step(plain, batch)
    batch.row_tokens = 32 if "packing" in options else None
    others, other_gradients = step(other, batch)
    assert others == pytest.approx(logged, rel=1e-4, abs=1e-6)
    torch.testing.assert_close(other_gradients, gradients, rtol=1e-3, atol=1e-5)


def test_the_host_does_not_wait_for_a_gpu(folder: Path) -> None:
    module = make_module(folder, packing=True, config_overrides=NO_DROPOUT, teacher=Distillation("a"))
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    module._training_has_begun = False  # whether a loss is finite is seen later on a GPU
    batch = replace(taught_batch(), row_tokens=32)
    with Waits() as waits:
        module.training_step(batch, 0).backward()
    assert waits.seen == []


# Trainings


def train(folder: Path, squad: Path, section: Distillation, **options: Any) -> list[dict[str, float]]:
    """What is logged in four steps of training without dropout."""
    pl.seed_everything(5, verbose=False)
    in_model = {key: options.pop(key) for key in ("packing",) if key in options}
    in_data = {key: options.pop(key) for key in ("null_windows", "cache_dir") if key in options}
    module = make_module(folder, config_overrides=NO_DROPOUT, teacher=section, **in_model)
    seen = Watch(lambda trainer, _: {name: float(value) for name, value in trainer.callback_metrics.items()})
    data = make_data(folder, train=squad, **in_data)
    make_trainer(folder, seen, **{"max_steps": 4} | options).fit(module, data)
    return seen.seen


def test_the_student_itself_has_nothing_to_teach(folder: Path, squad: Path) -> None:
    first, *others = train(folder, squad, Distillation([str(folder), str(folder)]))
    assert first["train/teacher"] == pytest.approx(0, abs=1e-5)
    assert all(metrics["train/teacher"] > 0 for metrics in others)


@pytest.mark.parametrize(
    "options",
    [{"packing": True}, {"precision": "bf16-mixed"}, {"precision": "bf16-true"}, {"null_windows": 0.2}],
    ids=str,
)
def test_every_way_to_train(folder: Path, squad: Path, letters: Path, options: dict[str, Any]) -> None:
    section = Distillation([str(folder), str(letters)], gold_weight=0.0)
    found = [metrics["train/teacher"] for metrics in train(folder, squad, section, **options)]
    assert len(found) == 4
    assert all(math.isfinite(value) and value > 0 for value in found)
    if "precision" in options:
        plain = [metrics["train/teacher"] for metrics in train(folder, squad, section)]
        assert found == pytest.approx(plain, rel=0.2)


def test_what_is_learnt_comes_near_to_the_teacher(folder: Path, squad: Path, letters: Path) -> None:
    section = Distillation(str(letters), gold_weight=0.0, weight=1.0)
    pl.seed_everything(5, verbose=False)
    module = make_module(
        folder, config_overrides=NO_DROPOUT, teacher=section, learning_rate=0.01, lr_scheduler_type="constant"
    )
    seen = Watch(lambda trainer, _: float(trainer.callback_metrics["train/teacher"]))
    make_trainer(folder, seen, max_epochs=8).fit(module, make_data(folder, train=squad))
    per_epoch = len(seen.seen) // 8
    assert sum(seen.seen[-per_epoch:]) < 0.3 * sum(seen.seen[:per_epoch])


def test_the_teacher_is_run_once_for_each_window(
    folder: Path, squad: Path, teacher: Path, letters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows: Counter[str] = Counter()
    run = TeacherModel.logits

    def counted(self: TeacherModel, batch: Batch, device: torch.device) -> tuple[Tensor, Tensor]:
        assert not self.network.training
        windows[self.source] += len(batch)
        return run(self, batch, device)

    monkeypatch.setattr(TeacherModel, "logits", counted)
    options: dict[str, Any] = {"max_steps": -1, "max_epochs": 2, "cache_dir": str(tmp_path)}
    first = train(folder, squad, Distillation([str(teacher), str(letters)]), **options)
    data = make_data(folder, train=squad)
    data.setup("fit")
    count = len(data.splits["train"][0].dataset)
    assert windows == {str(teacher): count, str(letters): count}
    assert train(folder, squad, Distillation([str(teacher), str(letters)]), **options) == first
    train(folder, squad, Distillation(str(letters), temperature=5.0), **options)
    assert windows == {str(teacher): count, str(letters): count}  # read from the disk
    # A damaged file is noticed, and made anew.
    for file in tmp_path.glob("teachers/*/start"):
        file.write_bytes(bytes(file.stat().st_size))
    assert train(folder, squad, Distillation([str(teacher), str(letters)]), **options) == first
    assert windows == {str(teacher): 2 * count, str(letters): 2 * count}


def test_other_weights_of_a_teacher_are_another_teacher(folder: Path, teacher: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(teacher, tmp_path / "copy")
    assert TeacherModel(str(copy)).fingerprint == TeacherModel(str(teacher)).fingerprint
    assert TeacherModel(str(folder)).fingerprint != TeacherModel(str(teacher)).fingerprint
    module = make_module(copy)
    with torch.no_grad():
        module.model.qa_outputs.bias[0] += 1e-3
    module.model.save_pretrained(copy)
    assert TeacherModel(str(copy)).fingerprint != TeacherModel(str(teacher)).fingerprint


def test_a_teacher_does_not_change_the_random_numbers_of_the_training(teacher: Path) -> None:
    torch.manual_seed(0)
    TeacherModel(str(teacher)).check(20)
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(1))


# Settings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": 0.0}, "teacher.temperature must be above 0"),
        ({"temperature": -1.0}, "teacher.temperature must be at least 0, not -1.0"),
        ({"weight": -1.0}, "teacher.weight must be at least 0, not -1.0"),
        ({"weight": 0.0}, "teacher.weight is 0, so that nothing is learnt from the teacher; "),
        ({"weight": 0.0, "gold_weight": 0.0}, "teacher.weight is 0, .* nor from the golds"),
        ({"model_name_or_path": []}, "teacher.model_name_or_path names nobody"),
    ],
)
def test_contradictions(folder: Path, values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^{message}"):
        make_module(folder, teacher=Distillation(**{"model_name_or_path": "a"} | values))


def test_there_is_no_teacher_by_default(folder: Path) -> None:
    module = make_module(folder)
    assert (module.loss_terms, module.teachers, module.gold_weight) == ((), (), 1.0)
    assert make_module(folder, teacher=Distillation(gold_weight=0.1)).gold_weight == 1.0


def test_batches_that_no_teacher_has_seen(folder: Path) -> None:
    module = make_module(folder, teacher=Distillation("a"))
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    with pytest.raises(UserError, match="the batch has no predictions of a teacher"):
        module.training_step(replace(taught_batch(), teacher_logits=None), 0)


# Whole commands


@pytest.fixture(scope="module")
def command(
    folder: Path, teacher: Path, letters: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[str], dict[str, Any]]:
    """A training with two teachers, but for its folder and length; and the teachers' section."""
    files = tmp_path_factory.mktemp("whole")
    squad = str(write_squad(files / "squad.json", copies=2))
    section = {
        "model_name_or_path": [str(teacher), str(letters)],
        "temperature": 3.0,
        "weight": 0.7,
        "gold_weight": 0.3,
        "hidden_weight": 0.0,
        "hidden_loss": "mse",
        "hidden_layers": None,
    }
    (files / "taught.yaml").write_text(yaml.safe_dump({"model": {"teacher": section, "lr_scheduler_type": "constant"}}))
    first, *others = fit_arguments(str(folder), squad, squad)
    arguments = [first, "--config", str(files / "taught.yaml"), *others, "--model.learning_rate", "0.01"]
    return arguments, section


@pytest.fixture(scope="module")
def whole(command: tuple[list[str], dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs of three steps in one go."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    assert main([*command[0], "--trainer.max_epochs", "2", "--run_dir", str(run)]) == 0
    return run


def test_a_run_keeps_its_section_and_its_curve(whole: Path, command: tuple[list[str], dict[str, Any]]) -> None:
    kept = yaml.safe_load((whole / "config.yaml").read_text())["model"]["init_args"]["teacher"]
    assert kept == command[1]
    (path,) = whole.rglob("metrics.csv")
    header, *rows = path.read_text().splitlines()
    curve = [row.split(",")[header.split(",").index("train/teacher")] for row in rows]
    assert len([value for value in curve if value and float(value) > 0]) == 6


def test_the_teacher_is_in_nothing_that_is_saved(whole: Path, folder: Path) -> None:
    from safetensors.torch import load_file

    checkpoint = torch.load(whole / "checkpoints/last.ckpt", weights_only=True)
    assert set(checkpoint["state_dict"]) == set(make_module(folder).state_dict())
    assert set(load_file(whole / "best_model/model.safetensors")) == set(load_file(folder / "model.safetensors"))
    groups = checkpoint["optimizer_states"][0]["param_groups"]
    assert sum(len(group["params"]) for group in groups) == len(list(make_module(folder).parameters()))


def test_a_checkpoint_needs_no_teacher(whole: Path, command: tuple[list[str], dict[str, Any]]) -> None:
    checkpoint = torch.load(whole / "checkpoints/last.ckpt", weights_only=True)
    section = {**command[1], "model_name_or_path": "/nowhere/at/all"}
    module = QALightningModule.load_from_checkpoint(whole / "checkpoints/last.ckpt", teacher=section)
    assert module.hparams["teacher"] == section
    assert checkpoint["hyper_parameters"]["teacher"] == command[1]


def test_an_ensemble_teaches_what_its_members_teach_that_are_named_as_often_as_they_count(
    command: tuple[list[str], dict[str, Any]], teacher: Path, letters: Path, tmp_path: Path
) -> None:
    arguments = ["ensemble", str(teacher), str(letters), "--output", str(tmp_path / "both"), "--weights", "1", "3"]
    for model in (teacher, letters):  # lengths that the tiny models have positions for
        settings = {"max_length": 48, "max_question_length": 12, "doc_stride": 8, "n_best_size": 20}
        settings |= {"max_answer_length": 15, "null_score_diff_threshold": 0.0, "version_2_with_negative": False}
        shutil.copytree(model, tmp_path / model.name)
        (tmp_path / model.name / "qa_lightning.json").write_text(json.dumps(settings))
    arguments[1:3] = [str(tmp_path / model.name) for model in (teacher, letters)]
    assert main(arguments) == 0
    weights = []
    for name, named in (("ensemble", str(tmp_path / "both")), ("list", [str(teacher)] + [str(letters)] * 3)):
        run = tmp_path / name
        flag = ["--model.teacher.model_name_or_path", named if isinstance(named, str) else json.dumps(named)]
        assert main([*command[0], *flag, "--run_dir", str(run)]) == 0
        weights.append(torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"])
    # What shifts all logits alike has a gradient of rounding errors only, of which Adam makes whole steps.
    idle = ("key.bias", "output.LayerNorm.bias", "qa_outputs.bias")
    compared = [name for name in weights[0] if not name.endswith(idle)]
    assert len(compared) > 10
    for name in compared:
        torch.testing.assert_close(weights[0][name], weights[1][name], atol=1e-4, rtol=1e-4)


def test_a_training_that_was_stopped_in_mid_epoch_ends_with_the_same_weights(
    command: tuple[list[str], dict[str, Any]], whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert main([*command[0], "--trainer.max_epochs", "2", "--trainer.max_steps", "4", "--run_dir", str(run)]) == 0
    assert main(["fit", "--run_dir", str(run), "--ckpt_path", "last", "--trainer.max_steps", "6"]) == 0
    ours, theirs = (
        torch.load(path / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for path in (run, whole)
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_training_with_an_ensemble_that_was_stopped_in_mid_epoch_ends_with_the_same_weights(
    command: tuple[list[str], dict[str, Any]], teacher: Path, letters: Path, tmp_path: Path
) -> None:
    ensemble = write_ensemble_file(tmp_path / "ensemble", {str(teacher): 1, str(letters): 3})
    arguments = [*command[0], "--model.teacher.model_name_or_path", str(ensemble), "--trainer.max_epochs", "2"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert main([*arguments, "--trainer.max_steps", "6", "--run_dir", str(whole)]) == 0
    assert main([*arguments, "--trainer.max_steps", "4", "--run_dir", str(stopped)]) == 0
    assert main(["fit", "--run_dir", str(stopped), "--ckpt_path", "last", "--trainer.max_steps", "6"]) == 0
    ours, theirs = (
        torch.load(path / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for path in (stopped, whole)
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_run_teaches_with_its_best_model(whole: Path) -> None:
    of_run, of_folder = TeacherModel(str(whole)), TeacherModel(str(whole / "best_model"))
    assert of_run.fingerprint == of_folder.fingerprint
    assert of_run.tokenizer.get_vocab() == load_tokenizer(str(whole / "best_model")).get_vocab()


def test_mistakes_end_before_data_are_read(
    folder: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    headless = tiny_folder(tmp_path / "headless", head=False)
    short = letters_folder(tmp_path / "short", positions=40)
    for values, message in (
        ([str(headless)], f"the teacher {headless} has no question-answering head"),
        ([str(tmp_path / "missing")], f"{tmp_path / 'missing'}: no such"),
        ([str(short)], f"max_length (48) is beyond the 40 positions of the teacher {short}"),
        ([str(teacher), "--model.teacher.temperature", "0"], "teacher.temperature must be above 0"),
    ):
        flags = ["--model.teacher.model_name_or_path", *values]
        check_refused_before_data(folder, flags, message, tmp_path / "run", capsys)


def test_windows_that_are_too_long_in_the_tokens_of_the_teacher(folder: Path, squad: Path, tmp_path: Path) -> None:
    short = letters_folder(tmp_path / "short", positions=40)
    with pytest.raises(
        UserError, match=rf"^a window of question 0-\d has \d\d tokens of the teacher {short}, which has 40"
    ):
        train(folder, squad, Distillation(str(short)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["several", "ensemble", "hidden states"])
def test_two_processes_learn_what_one_learns_with_two_batches_a_step(
    folder: Path, letters: Path, squad: Path, tmp_path: Path, kind: str
) -> None:
    teacher = tiny_folder(tmp_path / "teacher", layers=2)
    settings = [item for key, value in SETTINGS.items() for item in (f"--data.{key}", str(value).lower())]
    dropout = [item for key in NO_DROPOUT for item in (f"--model.config_overrides.{key}", "0.0")]
    arguments = [*fit_arguments(str(folder), str(squad), str(squad)), *settings, *dropout]
    teachers = [str(teacher)] if kind == "hidden states" else [str(teacher), str(letters)]
    named = f"[{', '.join(teachers)}]"
    if kind == "ensemble":
        named = str(write_ensemble_file(tmp_path / "ensemble", dict(zip(teachers, (1, 3), strict=True))))
    arguments += ["--model.teacher.model_name_or_path", named]
    arguments += ["--model.teacher.hidden_weight", "0.2" if kind == "hidden states" else "0.0"]
    arguments += ["--data.batch_size", "20"]

    def cache(run: Path) -> Path:
        return tmp_path / f"cache of {run.name}"

    for run in check_two_processes(arguments, tmp_path, lambda run: ["--data.cache_dir", str(cache(run))]):
        assert len(list(cache(run).glob("teachers/*"))) == len(teachers)


def test_without_weight_of_golds_a_classifier_of_answerability_learns_nothing_of_them(tmp_path: Path) -> None:
    folder = str(tiny_folder(tmp_path))
    head = {"type": "pointer", "answerability": True, "answerability_weight": 3.0}
    for weight, expected in ((0.5, 1.5), (0.0, 0.0)):
        module = make_module(folder, head=head, teacher={"model_name_or_path": folder, "gold_weight": weight})
        assert {term.name: getattr(term, "weight", None) for term in module.loss_terms}["answerability"] == expected
    assert make_module(folder, head=head).loss_terms[0].weight == 3.0

"""Trainings with layers that are frozen, unfrozen and begun anew, with mixout, and with decay to pretrained weights."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import LearningRateFinder
from torch import Tensor, nn

from qa_lightning.callbacks.checkpoint import RunCheckpoint
from qa_lightning.cli.main import main
from qa_lightning.modeling import acceleration, optimizers
from qa_lightning.modeling.layers import find_layers
from qa_lightning.modeling.mixout import MixoutLinear, mixout
from qa_lightning.modeling.module import QALightningModule
from qa_lightning.modeling.optimization import PLAIN_OPTIMIZATION, Optimization
from qa_lightning.utils.errors import UserError
from tests.cli.mistakes import error_of
from tests.commands import run_command
from tests.modeling.test_optimizers import needs_muon
from tests.tiny import fit_arguments, tiny_folder
from tests.training import NO_DROPOUT, SETTINGS, StopAt, Watch, make_data, make_module, make_trainer, trains

pytestmark = trains

LAYERS = 2


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("model"), layers=LAYERS)


def weights_of(module: Any) -> dict[str, Tensor]:
    return {name: weights.detach().clone() for name, weights in module.model.named_parameters()}


def fit(
    model: Path, squad: Path, run: Path, *callbacks: pl.Callback, resume: Path | None = None, **options: Any
) -> pl.Trainer:
    """A training of two epochs, unless the options say otherwise."""
    pl.seed_everything(0, verbose=False)
    ours = {name: options.pop(name) for name in asdict(PLAIN_OPTIMIZATION) if name in options}
    theirs = {name: options.pop(name) for name in ("config_overrides", "optimizer", "weight_decay") if name in options}
    defaults = {"learning_rate": 0.02, "lr_scheduler_type": "constant"}
    module = make_module(resume or model, optimization=Optimization(**ours), **defaults | theirs)
    trainer = make_trainer(run, *callbacks, **{"max_epochs": 2} | options)
    trainer.fit(module, make_data(model, train=squad, batch_size=3), ckpt_path=resume, weights_only=True)
    return trainer


def moved(model: Path, module: Any) -> set[int]:
    """The depths at which some weight of a trained module is another one than in its folder."""
    before, depths = weights_of(make_module(model)), find_layers(module.model).depths
    return {depths[name] for name, weights in weights_of(module).items() if not torch.equal(weights, before[name])}


# Freezing


def test_what_is_frozen_stays(model: Path, squad: Path, tmp_path: Path) -> None:
    options = {"freeze_embeddings": True, "freeze_layers": 1, "weight_decay": 0.1, "max_epochs": 1}
    assert moved(model, fit(model, squad, tmp_path, **options).lightning_module) == {2, 3}


def test_layers_are_unfrozen_from_the_top(model: Path, squad: Path, tmp_path: Path) -> None:
    watch = Watch(lambda _, module: moved(model, module))
    trainer = fit(model, squad, tmp_path, watch, unfreeze_every_n_steps=3, weight_decay=0.1, max_steps=14)
    assert watch.seen == [{3}] * 3 + [{2, 3}] * 3 + [{1, 2, 3}] * 3 + [{0, 1, 2, 3}] * 5
    assert all(parameter.requires_grad for parameter in trainer.lightning_module.parameters())


def test_layers_are_unfrozen_by_epochs_and_frozen_ones_stay_so(model: Path, squad: Path, tmp_path: Path) -> None:
    watch = Watch(lambda _, module: moved(model, module))
    fit(model, squad, tmp_path, watch, unfreeze_every_n_epochs=1, freeze_layers=1, max_epochs=4, limit_train_batches=1)
    assert watch.seen == [{3}, {2, 3}, {2, 3}, {0, 2, 3}]


def test_steps_count_as_the_optimizer_makes_them(model: Path, squad: Path, tmp_path: Path) -> None:
    watch = Watch(lambda _, module: moved(model, module))
    options = {"unfreeze_every_n_steps": 1, "accumulate_grad_batches": 2, "max_steps": 4}
    fit(model, squad, tmp_path, watch, **options)
    assert watch.seen == [set(), {3}, {3}, {2, 3}, {2, 3}, {1, 2, 3}, {1, 2, 3}, {0, 1, 2, 3}]


@pytest.mark.slow
def test_two_processes_train_as_one_does(model: Path, squad: Path, tmp_path: Path) -> None:
    """An epoch is a batch of all windows, or of half of them in each process."""
    settings = [item for key, value in SETTINGS.items() for item in (f"--data.{key}", str(value).lower())]
    arguments = [*fit_arguments(str(model), str(squad), str(squad)), *settings, "--trainer.max_epochs", "5"]
    arguments += ["--model.config_overrides", str(NO_DROPOUT), "--model.lr_scheduler_type", "constant"]
    arguments += ["--model.learning_rate", "0.5", "--trainer.limit_val_batches", "0"]
    for name, value in (
        ("optimizer_type", "sgd"),
        ("unfreeze_every_n_epochs", 1),
        ("pretrained_decay", 0.1),
        ("layer_decay", 0.9),
    ):
        arguments += [f"--model.optimization.{name}", str(value)]
    seen = []
    windows = len(make_batches(model, squad, batch_size=1))
    for processes in (1, 2):
        run = tmp_path / str(processes)
        devices = ["--trainer.strategy", "ddp", "--trainer.devices", "2"] if processes == 2 else []
        size = ["--data.batch_size", str(-(-windows // processes))]
        run_command(*arguments, *devices, *size, "--run_dir", str(run))
        checkpoint = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
        assert checkpoint["global_step"] == 5
        seen.append(checkpoint["state_dict"])
    before = make_module(model).state_dict()
    for name, weights in seen[0].items():
        torch.testing.assert_close(weights, seen[1][name], rtol=1e-4, atol=1e-5)
        assert "position_ids" in name or not torch.equal(weights, before[name]), name


def make_batches(model: Path, squad: Path, batch_size: int) -> list[Any]:
    data = make_data(model, train=squad, batch_size=batch_size)
    data.setup("fit")
    return list(data.train_dataloader())


# New layers


def test_layers_begin_anew_once_and_in_trainings_only(model: Path, squad: Path, tmp_path: Path) -> None:
    module = make_module(model, optimization=Optimization(reinit_layers=1), learning_rate=0.0)
    assert moved(model, module) == set()
    make_trainer(tmp_path).validate(module, make_data(model, validation_file=str(squad)))
    assert moved(model, module) == set()
    make_trainer(tmp_path, max_steps=1).fit(module, make_data(model, train=squad))
    assert moved(model, module) == {LAYERS}
    weights = weights_of(module)
    make_trainer(tmp_path, max_steps=1).fit(module, make_data(model, train=squad))
    assert all(torch.equal(value, weights[name]) for name, value in weights_of(module).items())


# Mixout


def test_mixout_by_hand() -> None:
    weights, pretrained = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([5.0, 0.0, 3.0, -4.0])
    torch.manual_seed(0)
    dropped = nn.functional.dropout(torch.ones(4), 0.5) == 0
    assert len(set(dropped.tolist())) == 2
    torch.manual_seed(0)
    # (m·pretrained + (1 - m)·weights - p·pretrained) / (1 - p), as in the paper
    expected = (torch.where(dropped, pretrained, weights) - 0.5 * pretrained) / 0.5
    torch.testing.assert_close(mixout(weights, pretrained, 0.5), expected)


def test_the_mean_of_mixout_is_the_weight() -> None:
    torch.manual_seed(0)
    weights, pretrained = torch.full((20_000,), 2.0), torch.full((20_000,), -1.0)
    assert float(mixout(weights, pretrained, 0.7).mean()) == pytest.approx(2.0, abs=0.1)


def test_mixout_is_in_the_linear_layers_of_a_training_alone(model: Path, squad: Path, tmp_path: Path) -> None:
    def kinds(_: Any, module: Any) -> dict[str, str]:
        return {
            name: type(layer).__name__ for name, layer in module.model.named_modules() if isinstance(layer, nn.Linear)
        }

    watch = Watch(kinds)
    trainer = fit(model, squad, tmp_path, watch, mixout=0.5, reinit_layers=1, max_epochs=1)
    assert all((kind == "MixoutLinear") == (".layer.0." in name) for name, kind in watch.seen[0].items())
    assert "MixoutLinear" in watch.seen[0].values()
    assert set(kinds(None, trainer.lightning_module).values()) == {"Linear"}
    layer = nn.Linear(3, 3)
    expected = layer(torch.ones(3))
    layer.__class__ = MixoutLinear
    assert torch.equal(layer.eval()(torch.ones(3)), expected)


# Decay to the pretrained weights


def test_decay_to_the_pretrained_weights_by_hand(model: Path, squad: Path, tmp_path: Path) -> None:
    options = {"config_overrides": NO_DROPOUT, "optimizer": lambda groups: torch.optim.SGD(groups, lr=0.1)}
    steps: list[tuple[dict[str, Tensor], dict[str, Tensor]]] = []

    class Steps(pl.Callback):
        def on_before_optimizer_step(self, trainer: pl.Trainer, module: Any, optimizer: Any) -> None:
            gradients = {name: parameter.grad.clone() for name, parameter in module.model.named_parameters()}
            steps.append((weights_of(module), gradients))

    trainer = fit(model, squad, tmp_path, Steps(), pretrained_decay=2.0, max_steps=3, **options)
    pretrained = steps[0][0]
    after = [*(weights for weights, _ in steps[1:]), weights_of(trainer.lightning_module)]
    for (before, gradients), found in zip(steps, after, strict=True):
        for name, weights in before.items():
            expected = weights - 0.1 * gradients[name]
            if not name.startswith("qa_outputs"):
                expected = expected - 0.1 * 2.0 * (expected - pretrained[name])
            torch.testing.assert_close(found[name], expected)


# Resuming

TECHNIQUES: dict[str, dict[str, Any]] = {
    "layers": {"layer_decay": 0.7, "head_learning_rate": 0.05, "freeze_embeddings": True, "unfreeze_every_n_steps": 3},
    "pretrained": {"mixout": 0.5, "pretrained_decay": 0.3, "reinit_layers": 1},
    "muon": {"optimizer_type": "muon", "optimizer_kwargs": {"momentum": 0.9}, "unfreeze_every_n_epochs": 1},
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=needs_muon if name == "muon" else ()) for name in TECHNIQUES]
)
def test_a_training_that_resumes_ends_with_the_same_weights(
    model: Path, squad: Path, tmp_path: Path, name: str
) -> None:
    whole = fit(model, squad, tmp_path / "whole", RunCheckpoint(), **TECHNIQUES[name]).lightning_module
    run = tmp_path / "run"
    with pytest.raises(SystemExit):
        fit(model, squad, run, StopAt(KeyboardInterrupt(), 4), RunCheckpoint(), **TECHNIQUES[name])
    path = run / "checkpoints/last.ckpt"
    resumed = fit(model, squad, run, RunCheckpoint(), resume=path, **TECHNIQUES[name]).lightning_module
    weights = weights_of(resumed)
    assert all(torch.equal(value, weights[key]) for key, value in weights_of(whole).items())
    loaded = QALightningModule.load_from_checkpoint(path)
    assert loaded.optimization == Optimization(**TECHNIQUES[name])
    assert loaded.hparams["optimization"] == asdict(loaded.optimization)


def test_pretrained_weights_that_a_checkpoint_lacks(model: Path, squad: Path, tmp_path: Path) -> None:
    fit(model, squad, tmp_path, RunCheckpoint(), max_steps=1)
    with pytest.raises(UserError, match="the checkpoint holds no pretrained weights"):
        fit(model, squad, tmp_path, RunCheckpoint(), resume=tmp_path / "checkpoints/last.ckpt", mixout=0.5)


@pytest.mark.parametrize(
    ("before", "now", "message"),
    [
        ({}, {"layer_decay": 0.9}, "layer_decay: the training that resumes had 1.0, not 0.9"),
        ({"optimizer_type": "sgd"}, {}, "optimizer_type: the training that resumes had sgd, not adamw"),
        ({"pretrained_decay": 0.1}, {"mixout": 0.1}, "pretrained_decay: the training that resumes had 0.1, not 0.0"),
    ],
)
def test_settings_of_the_optimizer_stay(
    model: Path, squad: Path, tmp_path: Path, before: dict[str, Any], now: dict[str, Any], message: str
) -> None:
    fit(model, squad, tmp_path, RunCheckpoint(), max_steps=1, **before)
    path = tmp_path / "checkpoints/last.ckpt"
    with pytest.raises(UserError, match=rf"^model\.optimization\.{message}"):
        fit(model, squad, tmp_path, RunCheckpoint(), resume=path, **now)
    QALightningModule.load_from_checkpoint(path, optimization=Optimization(**now))


# With what there is besides


@pytest.mark.parametrize("settings", [{"mixout": 0.9}, {"unfreeze_every_n_steps": 2}])
def test_a_network_that_is_compiled_computes_the_same(
    model: Path, squad: Path, tmp_path: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that was compiled in a validation before the training."""
    seen = []
    for function in (lambda *_, **__: None, lambda network, *_, **__: network.compile(dynamic=False, backend="eager")):
        monkeypatch.setattr(acceleration, "compile_network", function)
        torch.compiler.reset()
        pl.seed_everything(0, verbose=False)
        options = {"torch_compile": True, "config_overrides": NO_DROPOUT, "learning_rate": 0.02}
        module = make_module(model, optimization=Optimization(**settings), **options)
        data = make_data(model, train=squad, validation_file=str(squad))
        make_trainer(tmp_path, max_steps=4, limit_val_batches=1).fit(module, data)
        seen.append(weights_of(module))
    for name, weights in seen[0].items():
        torch.testing.assert_close(weights, seen[1][name])


def test_a_search_for_a_learning_rate_keeps_the_ratios(model: Path, squad: Path, tmp_path: Path) -> None:
    searched: list[list[float]] = []

    class Recording(QALightningModule):
        def configure_gradient_clipping(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
            searched.append([group["lr"] for group in optimizer.param_groups])
            super().configure_gradient_clipping(optimizer, *args, **kwargs)

    settings = Optimization(layer_decay=0.5)
    module = Recording(str(model), learning_rate=0.01, optimization=settings, **SETTINGS)
    finder = LearningRateFinder(num_training_steps=5, early_stop_threshold=None, min_lr=1e-4, max_lr=1e-2)
    trainer = make_trainer(tmp_path, finder, max_steps=1)
    trainer.fit(module, make_data(model, train=squad))
    ratios = [0.125, 0.125, 0.25, 0.25, 0.5, 0.5, 1.0, 1.0]
    assert len(searched) == 6
    assert len({rates[-1] for rates in searched[:5]}) == 5
    for rates in searched[:5]:
        assert rates == pytest.approx([ratio * rates[-1] for ratio in ratios])


@pytest.mark.parametrize(
    "options",
    [
        {"precision": "bf16-mixed"},
        {"precision": "bf16-true"},
        {"packing": True},
        {"gradient_checkpointing": True, "freeze_embeddings": True},
    ],
)
def test_it_goes_with_other_ways_to_compute(model: Path, squad: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    ours = {key: options.pop(key) for key in ("packing", "gradient_checkpointing") if key in options}
    freeze = options.pop("freeze_embeddings", False)
    settings = Optimization(
        mixout=0.5, pretrained_decay=0.1, layer_decay=0.9, unfreeze_every_n_steps=1, freeze_embeddings=freeze
    )
    module = make_module(model, learning_rate=0.02, lr_scheduler_type="constant", optimization=settings, **ours)
    trainer = make_trainer(tmp_path, max_steps=5, **options)
    trainer.fit(module, make_data(model, train=squad))
    assert moved(model, module) == ({1, 2, 3} if freeze else {0, 1, 2, 3})


# Whole commands


def test_a_training_from_a_config(model: Path, squad: Path, tmp_path: Path) -> None:
    (tmp_path / "optimization.yaml").write_text(
        "model:\n  lr_scheduler_type: warmup_stable_decay\n  optimization: {layer_decay: 0.9, mixout: 0.3, "
        "freeze_layers: 1, optimizer_kwargs: {betas: [0.9, 0.98]}, lr_scheduler_kwargs: {decay_type: linear}}\n"
    )
    run = tmp_path / "run"
    arguments = [*fit_arguments(str(model), str(squad), str(squad)), "--data.version_2_with_negative", "true"]
    assert main(["fit", "--config", str(tmp_path / "optimization.yaml"), *arguments[1:], "--run_dir", str(run)]) == 0
    checkpoint = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    group = checkpoint["optimizer_states"][0]["param_groups"][-1]
    assert (group["name"], list(group["betas"])) == ("head/bias_and_norm", [0.9, 0.98])
    assert main(["fit", "--run_dir", str(run), "--ckpt_path", "last", "--trainer.max_epochs", "2"]) == 0
    assert main(["validate", "--run_dir", str(run)]) == 0
    again = ["--model.model_name_or_path", str(run / "best_model"), "--run_dir", str(tmp_path / "second")]
    assert main([*arguments, *again, "--model.optimization.reinit_layers", "1"]) == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("layer_decay 1.5", "model.optimization.layer_decay must be above 0 and at most 1, not 1.5"),
        ("mixout 1", "model.optimization.mixout must be at least 0 and below 1, not 1.0"),
        ("freeze_layers 3", "model.optimization.freeze_layers: the model has 2 layers, not 3"),
        ("freeze_layers -1", "model.optimization.freeze_layers must be at least 0, not -1"),
        ("freeze_layers 1 reinit_layers 2", "share some, which would stay random"),
        ("unfreeze_every_n_steps 1 unfreeze_every_n_epochs 1", "either by steps or by epochs"),
        ("optimizer_kwargs.beta 1", "model.optimization.optimizer_kwargs: adamw has no 'beta'; it has betas, "),
        ("optimizer_type lions", "Got value: lions"),
        ("decay_ratio 0.1", "decay_ratio is of lr_scheduler_type: warmup_stable_decay, which linear is not"),
        ("lr_scheduler_kwargs.num_cycles 2", "the schedule linear does not accept them"),
        ("layer_decoy 0.5", "did you mean 'optimization.layer_decay'?"),
    ],
)
def test_mistakes_end_in_a_line(
    model: Path, tmp_path: Path, flags: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before data are read: there is no such file."""
    arguments = fit_arguments(str(model), str(tmp_path / "none.json"), str(tmp_path / "none.json"))
    names = flags.split()
    for name, value in zip(names[::2], names[1::2], strict=True):
        arguments += [f"--model.optimization.{name}", value]
    assert message in error_of([*arguments, "--run_dir", str(tmp_path / "run")], capsys)


def test_what_is_not_installed_is_missed_by_trainings_alone(
    model: Path, squad: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimizers, "is_installed", lambda _: False)
    module = make_module(model, optimization=Optimization(optimizer_type="lion"))
    make_trainer(tmp_path).validate(module, make_data(model, validation_file=str(squad)))
    with pytest.raises(UserError, match="lion is in a package that is not installed"):
        make_trainer(tmp_path).fit(module, make_data(model, train=tmp_path / "none.json"))


@pytest.mark.parametrize("name", ["mixout", "pretrained_decay", "reinit_layers"])
def test_what_needs_pretrained_weights_does_not_start_from_random_ones(model: Path, name: str) -> None:
    settings = Optimization(**{name: 1 if name == "reinit_layers" else 0.5})
    with pytest.raises(UserError, match=rf"model\.optimization\.{name} needs pretrained weights"):
        make_module(None, config_name=str(model), tokenizer_name=str(model), optimization=settings)


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ({"optimizer": torch.optim.SGD}, {"optimizer_type": "lamb"}),
        ({"optimizer": torch.optim.SGD}, {"optimizer_kwargs": {"eps": 1e-6}}),
        ({"lr_scheduler": torch.optim.lr_scheduler.StepLR}, {"lr_scheduler_kwargs": {"num_cycles": 2}}),
    ],
)
def test_a_class_leaves_nothing_to_be_named(model: Path, options: dict[str, Any], settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="names a class, which takes the place of"):
        make_module(model, optimization=Optimization(**settings), **options)

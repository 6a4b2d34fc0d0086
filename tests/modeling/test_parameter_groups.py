"""The groups of parameters with their learning rates and decays."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from qa_lightning.modeling.muon import BY_MUON
from qa_lightning.modeling.optimization import Optimization
from qa_lightning.modeling.parameter_groups import OWN_LR, group_rows, parameter_groups
from tests.modeling.test_optimizers import needs_muon
from tests.tiny import tiny_folder
from tests.training import make_module


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("tiny"), layers=3)


def module(folder: Path, **settings: Any) -> Any:
    options = {name: settings.pop(name) for name in ("optimizer", "weight_decay") if name in settings}
    return make_module(folder, learning_rate=0.1, optimization=Optimization(**settings), **options)


def rates(module: Any) -> dict[str, float]:
    return {group["name"]: group["lr"] for group in module.make_optimizer().param_groups}


def test_rates_fall_from_the_head_to_the_embeddings(folder: Path) -> None:
    found = rates(module(folder, layer_decay=0.5))
    assert {name: rate for name, rate in found.items() if "/" not in name} == pytest.approx(
        {"embeddings": 0.1 / 16, "layer 0": 0.1 / 8, "layer 1": 0.1 / 4, "layer 2": 0.1 / 2, "head": 0.1}
    )
    assert all(found[f"{name}/bias_and_norm"] == found[name] for name in found if "/" not in name)
    assert next(iter(found)) == "embeddings"


def test_the_head_has_a_rate_of_its_own(folder: Path) -> None:
    assert rates(module(folder, head_learning_rate=0.7)) == {
        "encoder": 0.1,
        "encoder/bias_and_norm": 0.1,
        "head": 0.7,
        "head/bias_and_norm": 0.7,
    }
    both = rates(module(folder, head_learning_rate=0.7, layer_decay=0.5))
    assert (both["head"], both["layer 2"]) == (0.7, 0.05)


def test_the_head_has_a_rate_of_its_own_where_no_layers_are_known() -> None:
    class Base(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mixer = nn.Linear(2, 2, bias=False)

    class Network(nn.Module):
        config = SimpleNamespace(model_type="odd", num_hidden_layers=1)

        def __init__(self) -> None:
            super().__init__()
            self.base_model, self.qa_outputs = Base(), nn.Linear(2, 2, bias=False)

    encoder, head = parameter_groups(Network(), 0.1, Optimization(head_learning_rate=0.7))
    assert (encoder["name"], head["name"]) == ("encoder", "head")
    assert (encoder.get(OWN_LR), head[OWN_LR]) == (None, 0.7)


def test_an_optimizer_that_a_class_names_has_the_same_ratios(folder: Path) -> None:
    found = rates(module(folder, layer_decay=0.5, optimizer=lambda groups: torch.optim.SGD(groups, lr=8.0)))
    assert (found["head"], found["layer 2"], found["embeddings"]) == (8.0, 4.0, 0.5)


@needs_muon
def test_every_weight_is_in_one_group(folder: Path) -> None:
    for settings in ({}, {"layer_decay": 0.5}, {"optimizer_type": "muon", "head_learning_rate": 1.0}):
        made = module(folder, **settings)
        members = [p for group in made.make_optimizer().param_groups for p in group["params"]]
        assert len(members) == len({id(p) for p in members}) == len(list(made.model.parameters()))


def test_what_is_frozen_is_in_no_group(folder: Path) -> None:
    made = module(folder, freeze_embeddings=True, freeze_layers=2)
    frozen = {name for name, parameter in made.model.named_parameters() if not parameter.requires_grad}
    assert frozen == {
        name
        for name, _ in made.model.named_parameters()
        if "embeddings" in name or ".layer.0." in name or ".layer.1." in name
    }
    rows = group_rows(made.model, made.make_optimizer())
    sizes = {name: p.numel() for name, p in made.model.named_parameters()}
    assert rows[-1] == ("frozen", sum(sizes[name] for name in frozen), None, None)
    assert sum(row[1] for row in rows) == sum(sizes.values())


def test_layers_frozen_without_the_embeddings(folder: Path) -> None:
    weights = dict(module(folder, freeze_layers=1).model.named_parameters())
    assert weights["bert.embeddings.word_embeddings.weight"].requires_grad
    assert not weights["bert.encoder.layer.0.output.dense.bias"].requires_grad
    assert weights["bert.encoder.layer.1.output.dense.bias"].requires_grad


@needs_muon
def test_muon_has_the_matrices_of_the_layers(folder: Path) -> None:
    network = module(folder).model
    muon, matrices, vectors = parameter_groups(network, 0.1, Optimization(optimizer_type="muon"))
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    assert all(".layer." in names[id(p)] and p.ndim == 2 for p in muon["params"])
    assert len(muon["params"]) == 3 * 6
    assert muon[BY_MUON]
    assert BY_MUON not in matrices
    assert all("embeddings" in names[id(p)] or names[id(p)] == "qa_outputs.weight" for p in matrices["params"])
    assert (muon["weight_decay"], matrices["weight_decay"], vectors["weight_decay"]) == (0.1, 0.1, 0.0)


def test_what_decays_to_the_pretrained_weights_does_not_decay_to_zero(folder: Path) -> None:
    made = module(folder, pretrained_decay=0.5, weight_decay=0.1)
    decays = {group["name"]: group["weight_decay"] for group in made.make_optimizer().param_groups}
    assert decays == {"encoder": 0.0, "encoder/bias_and_norm": 0.0, "head": 0.1, "head/bias_and_norm": 0.0}

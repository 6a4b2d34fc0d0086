"""The embeddings, layers and head of every family of model, and new weights in the top layers."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForQuestionAnswering

from qa_lightning.modeling.layers import find_layers
from qa_lightning.modeling.network import quiet_transformers
from qa_lightning.modeling.optimization import Optimization, prepare_network
from qa_lightning.modeling.reinitialization import reinitialize
from qa_lightning.utils.errors import UserError
from tests.modeling.families import CONFIGS

LAYERS = {"distilbert": "n_layers", "xlnet": "n_layer", "bart": "encoder_layers"}
"""What a family's configuration calls its number of layers, where not ``num_hidden_layers``."""


@cache
def network(family: str) -> Any:
    """A network with three layers; of BART, two in the encoder and one in the decoder."""
    name, values, _ = CONFIGS[family]
    values = values | {LAYERS.get(family, "num_hidden_layers"): 2 if family == "bart" else 3}
    if family == "longformer":
        values["attention_window"] = [8, 8, 8]
    settings = getattr(transformers, name)(**values)
    torch.manual_seed(0)
    with quiet_transformers():
        return AutoModelForQuestionAnswering.from_config(settings)


@pytest.mark.parametrize("family", sorted(set(CONFIGS) - {"albert"}))
def test_layers_of_each_family(family: str) -> None:
    found = find_layers(network(family))
    assert (found.number, found.problem) == (3, None)
    assert list(found.depths) == [name for name, _ in network(family).named_parameters()]
    names: dict[int, list[str]] = {}
    for name, depth in found.depths.items():
        names.setdefault(depth, []).append(name)
    assert sorted(names) == [0, 1, 2, 3, 4]
    words = next(
        name
        for name, weights in network(family).named_parameters()
        if weights is network(family).get_input_embeddings().weight
    )
    assert words in names[0]
    assert all("layer." in name or "layers." in name for depth in (1, 2) for name in names[depth])
    assert len(names[1]) == len(names[2]) or family in ("bart", "modernbert")
    assert all(name.startswith(("qa_", "classifier", "head")) for name in names[4])
    left = {name.rpartition(".")[2] for name in names[3] if "layer." not in name and "layers." not in name}
    assert left <= {"weight"}  # of a last norm
    number = "0" if family == "bart" else "2"
    assert any(f".{number}." in name for name in names[3])


def test_layers_of_a_model_without_a_base_model() -> None:
    config = transformers.T5Config(
        vocab_size=60, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_decoder_layers=1, num_heads=2
    )
    with quiet_transformers():
        found = find_layers(AutoModelForQuestionAnswering.from_config(config))
    assert (found.number, found.problem) == (3, None)
    assert {name for name, depth in found.depths.items() if depth == found.head} == {
        "qa_outputs.weight",
        "qa_outputs.bias",
    }
    assert found.depths["shared.weight"] == 0
    assert found.depths["decoder.block.0.layer.2.DenseReluDense.wi.weight"] == 3


def test_layers_that_are_kept_in_several_lists_are_not_known() -> None:
    with quiet_transformers():
        network = AutoModelForQuestionAnswering.from_config(
            transformers.XLMConfig(vocab_size=60, emb_dim=16, n_layers=2, n_heads=2)
        )
    with pytest.raises(UserError, match="the layers of a xlm model are not known"):
        prepare_network(network, Optimization(freeze_layers=1), is_pretrained=True)


def test_what_belongs_to_the_embeddings_is_found_wherever_it_stands() -> None:
    depths = {family: find_layers(network(family)).depths for family in ("deberta-v3", "electra", "mpnet", "bart")}
    assert depths["deberta-v3"]["deberta.encoder.rel_embeddings.weight"] == 0
    assert depths["electra"]["electra.embeddings_project.weight"] == 0
    assert depths["mpnet"]["mpnet.encoder.relative_attention_bias.weight"] == 0
    assert depths["bart"]["model.decoder.layernorm_embedding.weight"] == 0


def test_layers_of_a_decoder_follow_those_of_its_encoder() -> None:
    depths = find_layers(network("bart")).depths
    assert [
        depths[f"model.{part}.fc1.weight"] for part in ("encoder.layers.0", "encoder.layers.1", "decoder.layers.0")
    ] == [
        1,
        2,
        3,
    ]


@pytest.mark.parametrize("setting", ["freeze_layers", "reinit_layers", "unfreeze_every_n_steps", "layer_decay"])
def test_layers_that_share_weights_have_none_of_their_own(setting: str) -> None:
    settings = Optimization(**{setting: 0.5 if setting == "layer_decay" else 1})
    with pytest.raises(UserError, match=rf"^model\.optimization\.{setting}: the 3 layers of this albert model share"):
        prepare_network(network("albert"), settings, is_pretrained=True)
    assert prepare_network(network("albert"), Optimization(head_learning_rate=0.1), is_pretrained=True) == []


@pytest.mark.parametrize("family", ["bert", "deberta-v3", "bart", "modernbert", "xlnet", "llama"])
def test_new_weights_are_those_of_the_top_layers_alone(family: str) -> None:
    settings, depths = network(family).config, find_layers(network(family)).depths
    with quiet_transformers():
        pretrained = AutoModelForQuestionAnswering.from_config(settings)
    with torch.no_grad():
        for weights in pretrained.parameters():
            weights.fill_(7)
    reinitialize(pretrained, 2)
    for name, weights in pretrained.named_parameters():
        assert bool((weights == 7).all()) == (depths[name] not in (2, 3)), name
        if depths[name] in (2, 3) and weights.ndim > 1:
            assert 0 < float(weights.detach().std()) < 1

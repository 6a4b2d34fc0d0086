"""Loading networks of every family, and what is read off them."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from transformers import AutoConfig, AutoModel, AutoModelForQuestionAnswering
from transformers.utils import logging as transformers_logging

from qa_lightning.modeling.network import (
    accepted_inputs,
    check_same_architecture,
    load_network,
    longest_input,
    question_answering_head_is_missing,
    quiet_transformers,
)
from qa_lightning.pretrained.checkpoint_file import CHECKPOINT_KEY
from qa_lightning.utils.errors import UserError
from tests.data.tokenizers import word_level
from tests.modeling.families import CONFIGS, LENGTH, VOCABULARY, config
from tests.tiny import tiny_folder, tiny_tokenizer


@pytest.fixture
def broken(folder: Path, tmp_path: Path) -> Path:
    """A copy of the model's folder, to be broken."""
    return Path(shutil.copytree(folder, tmp_path / "broken"))


def run(network: nn.Module, length: int) -> tuple[Tensor, Tensor]:
    """The logits of two rows of ``length`` tokens, given what the network has a use for."""
    ids = torch.arange(2 * length).view(2, length) % (VOCABULARY - 5) + 5
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    inputs["global_attention_mask"] = torch.nn.functional.one_hot(torch.zeros(2, dtype=torch.int64), length)
    accepted = accepted_inputs(network)
    with torch.no_grad():
        output = network(**{name: tensor for name, tensor in inputs.items() if name in accepted})
    return output.start_logits, output.end_logits


def save_checkpoint(path: Path, network: Any) -> str:
    """The parts of a checkpoint of ours that a network is restored from."""
    values = {**network.config.to_dict(), "model_type": network.config.model_type}
    state = {f"model.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": state, CHECKPOINT_KEY: {"config": values, "tokenizer": {}, "settings": {}}}, path)
    return str(path)


def edit_config(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def error(name: str | None, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        load_network(name, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Every family


@pytest.mark.parametrize("family", CONFIGS)
def test_the_longest_input_is_the_longest_that_runs(family: str) -> None:
    expected = CONFIGS[family][2]
    network = AutoModelForQuestionAnswering.from_config(config(family))
    assert longest_input(network) == expected
    for logits in run(network, expected or 4 * LENGTH):
        assert logits.shape == (2, expected or 4 * LENGTH)
        assert logits.isfinite().all()
    if expected is not None:
        with pytest.raises((IndexError, RuntimeError)):
            run(network, expected + 1)


@pytest.mark.parametrize("family", CONFIGS)
def test_a_missing_head_is_recognised_and_one_that_is_there_is_loaded(family: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    original = AutoModelForQuestionAnswering.from_config(config(family))
    original.save_pretrained(tmp_path / "whole")
    network, missing = load_network(str(tmp_path / "whole"))
    assert missing == []
    assert not question_answering_head_is_missing(network, missing)
    for ours, theirs in zip(run(network, LENGTH), run(original, LENGTH), strict=True):
        assert torch.equal(ours, theirs)

    AutoModel.from_config(config(family)).save_pretrained(tmp_path / "base")
    network, missing = load_network(str(tmp_path / "base"))
    assert missing
    assert question_answering_head_is_missing(network, missing)


@pytest.mark.parametrize("family", CONFIGS)
def test_a_checkpoint_restores_the_same_network(family: str, tmp_path: Path) -> None:
    original = AutoModelForQuestionAnswering.from_config(config(family), dtype=torch.float32)
    network, missing = load_network(save_checkpoint(tmp_path / "x.ckpt", original))
    assert missing == []
    assert network.config.to_dict() == original.config.to_dict()
    for ours, theirs in zip(run(network, LENGTH), run(original, LENGTH), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("family", "types", "global_attention"),
    [
        ("bert", True, False),
        ("albert", True, False),
        ("xlnet", True, False),
        ("distilbert", False, False),
        ("roberta", False, False),  # one type for all: its embedding has no row for a second
        ("deberta-v2", False, False),
        ("modernbert", False, False),
        ("llama", False, False),
        ("longformer", False, True),
    ],
)
def test_only_inputs_that_the_network_has_a_use_for_are_accepted(
    family: str, types: bool, global_attention: bool
) -> None:
    accepted = accepted_inputs(AutoModelForQuestionAnswering.from_config(config(family)))
    assert {"input_ids", "attention_mask"} <= accepted
    assert ("token_type_ids" in accepted) == types
    assert ("global_attention_mask" in accepted) == global_attention


# Weights


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_are_float32_whatever_the_folder_holds(folder: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    half = AutoModelForQuestionAnswering.from_pretrained(folder, dtype=dtype)
    half.save_pretrained(tmp_path / "half")
    for name, options in (
        (str(tmp_path / "half"), {}),
        (None, {"config_name": str(tmp_path / "half")}),
        (save_checkpoint(tmp_path / "half.ckpt", half), {}),
    ):
        network, _ = load_network(name, **options)
        assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


@pytest.mark.parametrize("source", ["folder", "random", "checkpoint"])
def test_a_network_is_ready_to_be_trained(folder: Path, tmp_path: Path, source: str) -> None:
    name: str | None = None if source == "random" else str(folder)
    if source == "checkpoint":
        name = save_checkpoint(tmp_path / "x.ckpt", AutoModelForQuestionAnswering.from_pretrained(folder))
    network, _ = load_network(name, config_name=str(folder))
    assert all(module.training for module in network.modules())
    assert any(isinstance(module, nn.Dropout) and module.p > 0 for module in network.modules())


def test_safetensors_are_preferred_to_pickles(broken: Path) -> None:
    torch.save({}, broken / "pytorch_model.bin")
    assert load_network(str(broken))[1] == []


def test_a_pickle_of_plain_tensors_is_loaded(broken: Path) -> None:
    original, _ = load_network(str(broken))
    (broken / "model.safetensors").unlink()
    torch.save(original.state_dict(), broken / "pytorch_model.bin")
    network, missing = load_network(str(broken))
    assert missing == []
    assert_close(dict(network.state_dict()), dict(original.state_dict()))


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("kind", ["pickle", "torch", "checkpoint"])
def test_nothing_is_unpickled(broken: Path, tmp_path: Path, kind: str) -> None:
    (broken / "model.safetensors").unlink()
    trap = Trap(tmp_path / "sprung")
    weights, name = broken / "pytorch_model.bin", str(broken)
    if kind == "pickle":
        weights.write_bytes(pickle.dumps(trap, protocol=2))
    elif kind == "torch":
        torch.save({"bert.x": trap}, weights)
    else:
        name = str(broken / "x.ckpt")
        torch.save({CHECKPOINT_KEY: trap, "state_dict": {}}, name)
    assert "plain data" in error(name)
    assert not (tmp_path / "sprung").exists()


def test_code_in_a_folder_is_not_run(broken: Path, tmp_path: Path) -> None:
    (broken / "evil.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'sprung')!r})\n")
    modules = {"AutoConfig": "evil.Config", "AutoModelForQuestionAnswering": "evil.Model"}
    edit_config(broken, auto_map=modules)
    load_network(str(broken))  # a known architecture: transformers' own code is taken
    edit_config(broken, model_type="new-kind")
    assert str(broken) in error(str(broken))
    assert not (tmp_path / "sprung").exists()


# A random start


def test_a_random_start_takes_its_size_from_the_tokenizer(tmp_path: Path) -> None:
    config("roberta").save_pretrained(tmp_path)
    tokenizer = tiny_tokenizer()
    network, missing = load_network(None, config_name=str(tmp_path), tokenizer=tokenizer)
    assert missing == []
    assert network.get_input_embeddings().num_embeddings == len(tokenizer) != VOCABULARY
    assert network.config.pad_token_id == tokenizer.pad_token_id == 0
    assert longest_input(network) == LENGTH + 1  # positions are counted from behind the padding's


def test_a_random_start_differs_from_the_weights_beside_its_configuration(folder: Path) -> None:
    random, _ = load_network(None, config_name=str(folder))
    loaded, _ = load_network(str(folder), config_name="ignored where there is a model")
    assert not torch.equal(random.get_input_embeddings().weight, loaded.get_input_embeddings().weight)


def test_values_of_the_configuration_can_be_changed(folder: Path) -> None:
    overrides = {"num_hidden_layers": 3, "initializer_range": 1e-6, "hidden_dropout_prob": 0.25}
    network, _ = load_network(None, config_name=str(folder), config_overrides=overrides)
    assert len(network.bert.encoder.layer) == 3
    assert network.bert.encoder.layer[0].output.dropout.p == 0.25
    assert 0 < network.get_input_embeddings().weight.abs().max() < 1e-4
    network, _ = load_network(str(folder), config_overrides={"hidden_dropout_prob": 0.25})
    assert network.bert.encoder.layer[0].output.dropout.p == 0.25


def test_the_attention_kernel_is_the_one_that_is_asked_for(folder: Path) -> None:
    for name in (str(folder), None):
        network, _ = load_network(name, config_name=str(folder), attn_implementation="eager")
        assert network.config._attn_implementation == "eager"


# What is refused


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"hiden_size": 8}, "'hiden_size'"),
        ({"hidden_size": "big"}, "hidden_size cannot be 'big'"),
        ({"num_attention_heads": 3}, "not a multiple"),
    ],
)
def test_impossible_values_of_the_configuration(folder: Path, overrides: dict[str, Any], message: str) -> None:
    assert message in error(None, config_name=str(folder), config_overrides=overrides)


def test_no_model_at_all() -> None:
    line = error(None)
    assert "model.model_name_or_path" in line
    assert "model.config_name" in line


@pytest.mark.parametrize("name", ["some-model", "some/model"])
def test_a_name_that_cannot_be_fetched(name: str) -> None:
    line = error(name)
    assert repr(name) in line
    assert "works offline" in line


@pytest.mark.parametrize("name", ["./absent", "/absent/model", "a/b/c"])
def test_a_folder_that_is_not_there(name: str) -> None:
    assert error(name) == f"{name}: no such model folder"


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"model_type": "unheard-of"}', '{"model_type": "clip"}'])
def test_a_configuration_that_says_nothing(broken: Path, text: str) -> None:
    (broken / "config.json").write_text(text)
    assert str(broken) in error(str(broken))


@pytest.mark.parametrize("keep", [0, 3, 2000])
def test_cut_weights(broken: Path, keep: int) -> None:
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    assert str(broken) in error(str(broken))


def test_no_weights(broken: Path) -> None:
    (broken / "model.safetensors").unlink()
    assert "model.safetensors" in error(str(broken))


@pytest.mark.parametrize(
    ("values", "parameter"),
    [
        ({"hidden_size": 32}, "bert."),
        ({"num_hidden_layers": 2}, "bert.encoder.layer.1."),
        ({"model_type": "roberta"}, "roberta."),
    ],
)
def test_weights_that_are_not_those_of_the_configuration(broken: Path, values: dict[str, Any], parameter: str) -> None:
    edit_config(broken, **values)
    assert parameter in error(str(broken))


def test_an_attention_kernel_that_does_not_exist(folder: Path) -> None:
    assert "fast-and-wrong" in error(str(folder), attn_implementation="fast-and-wrong")


def test_weights_of_another_architecture_in_a_checkpoint(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    network, _ = load_network(str(folder))
    save_checkpoint(path, network)
    checkpoint = torch.load(path)
    checkpoint[CHECKPOINT_KEY]["config"]["hidden_size"] = 32
    torch.save(checkpoint, path)
    line = error(str(path))
    assert line.startswith(f"{path}: the checkpoint does not fit the model")


@pytest.mark.parametrize(("family", "key"), [("roberta", "model_type"), ("bert", "vocab_size")])
def test_a_model_of_another_architecture_beside_a_checkpoint(
    folder: Path, tmp_path: Path, family: str, key: str
) -> None:
    network, _ = load_network(str(folder))
    checkpoint = save_checkpoint(tmp_path / "x.ckpt", network)
    check_same_architecture(checkpoint, str(folder))
    check_same_architecture(checkpoint, "a/name-on-the-hub")  # which is not looked up
    config(family).save_pretrained(tmp_path / "other")
    with pytest.raises(UserError, match=f"another architecture: its {key} "):
        check_same_architecture(checkpoint, str(tmp_path / "other"))


# Quiet


def test_transformers_is_as_talkative_after_as_before() -> None:
    before = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    with contextlib.suppress(ValueError), quiet_transformers():
        assert transformers_logging.get_verbosity() == logging.ERROR
        assert not transformers_logging.is_progress_bar_enabled()
        raise ValueError
    assert (transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()) == before


def test_a_new_head_is_taken_without_a_word(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    tiny_folder(tmp_path, head=False)
    capfd.readouterr()
    load_network(str(tmp_path))
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_a_tokenizer_with_more_tokens_than_the_model_knows(tmp_path: Path) -> None:
    tokens = tiny_tokenizer().vocab_size
    for surplus in (0, 1):
        folder = tmp_path / str(surplus)
        made = config("bert")
        made.vocab_size = tokens - surplus
        AutoModelForQuestionAnswering.from_config(made).save_pretrained(folder)
        refused = pytest.raises(UserError, match=f"tokenizer has {tokens} tokens, and the model .* knows {tokens - 1};")
        with refused if surplus else contextlib.nullcontext():
            load_network(str(folder), tokenizer=tiny_tokenizer())


@pytest.mark.parametrize(
    ("tokens", "known", "good"), [(5, 400, False), (5, 250, True), (400, 900, False), (400, 790, True)]
)
def test_a_tokenizer_with_far_fewer_tokens_than_the_model_knows(
    tokens: int, known: int, good: bool, tmp_path: Path
) -> None:
    made = config("bert")
    made.vocab_size = known
    AutoModelForQuestionAnswering.from_config(made).save_pretrained(tmp_path)
    tokenizer = word_level([f"word{i}" for i in range(tokens - 4)])
    tokenizer.name_or_path = "its/name"
    line = rf"^the tokenizer has {tokens} tokens, and the model {tmp_path} knows {known}; set tokenizer_name .*its/name"
    with contextlib.nullcontext() if good else pytest.raises(UserError, match=line):
        load_network(str(tmp_path), tokenizer=tokenizer)


def test_code_of_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    """Neither is it asked for at the terminal, as transformers does for a kind of model that answers no questions."""
    for kind in ("bert", "vit"):
        network = AutoConfig.for_model(kind)
        values = {**network.to_dict(), "model_type": kind, "auto_map": {"AutoModelForQuestionAnswering": "a/b--evil.M"}}
        path = tmp_path / f"{kind}.ckpt"
        parts = {"config": values, "tokenizer": {}, "settings": {}}
        torch.save({"state_dict": {}, CHECKPOINT_KEY: parts}, path)
        assert str(path) in error(str(path))

"""Tokenizers, configurations and settings from folders, names and checkpoints."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import processors
from transformers import BertConfig, ByT5Tokenizer, PreTrainedTokenizerFast

from qa_lightning.pretrained.checkpoint_file import CHECKPOINT_KEY, is_checkpoint, read_checkpoint
from qa_lightning.pretrained.loading import load_config, load_settings, load_tokenizer, readable_errors, tokenizer_files
from qa_lightning.pretrained.settings import SETTINGS_FILE
from qa_lightning.utils.errors import UserError
from tests.modeling.families import CONFIGS, config
from tests.tiny import tiny_folder, tiny_tokenizer

PAIR = ("Who wrote the first program?", "Ada Lovelace wrote the first program in 1843.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def broken(folder: Path, tmp_path: Path) -> Path:
    """A copy of the model's folder, to be broken."""
    return Path(shutil.copytree(folder, tmp_path / "broken"))


def save_checkpoint(path: Path, **parts: Any) -> str:
    """A file with the parts of ours that a checkpoint carries."""
    values: dict[str, Any] = {"config": {}, "tokenizer": {}, "settings": {}}
    torch.save({"state_dict": {}, CHECKPOINT_KEY: values | parts}, path)
    return str(path)


def error(load: Any, *arguments: Any) -> str:
    with pytest.raises(UserError) as caught:
        load(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Tokenizers


def test_a_checkpoint_gives_back_the_tokenizer(tmp_path: Path) -> None:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tiny_tokenizer().backend_tokenizer,
        padding_side="left",
        model_max_length=48,
        cls_token="[CLS]",
        pad_token="[PAD]",
        model_input_names=["input_ids", "attention_mask"],
    )
    tokenizer.add_tokens(["Lovelace", "日本"])
    path = save_checkpoint(tmp_path / "x.ckpt", tokenizer=tokenizer_files(tokenizer))
    restored = load_tokenizer(path)
    assert restored(*PAIR, return_offsets_mapping=True) == tokenizer(*PAIR, return_offsets_mapping=True)
    assert restored.get_vocab() == tokenizer.get_vocab()
    for name in ("padding_side", "model_max_length", "model_input_names", "special_tokens_map"):
        assert getattr(restored, name) == getattr(tokenizer, name)
    assert restored.is_fast


def test_a_folder_gives_its_tokenizer(folder: Path) -> None:
    assert load_tokenizer(str(folder))(*PAIR) == tiny_tokenizer()(*PAIR)


def test_the_files_of_a_tokenizer_are_plain_text() -> None:
    files = tokenizer_files(tiny_tokenizer())
    assert {"tokenizer.json", "tokenizer_config.json"} <= set(files)
    assert all(isinstance(text, str) for text in files.values())


@pytest.mark.parametrize("name", ["../../escaped.txt", "a/b.txt", "/{tmp}/absolute.txt", "..", "", "nul\0.txt"])
def test_a_file_name_in_a_checkpoint_leads_nowhere_else(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    files = tokenizer_files(tiny_tokenizer()) | {name.format(tmp=tmp_path): "x"}
    line = error(load_tokenizer, save_checkpoint(tmp_path / "x.ckpt", tokenizer=files))
    assert line.startswith(f"{tmp_path / 'x.ckpt'}: a damaged checkpoint: a file of its tokenizer is called ")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["temporary", "x.ckpt"]


def test_a_slow_tokenizer_is_refused(tmp_path: Path) -> None:
    ByT5Tokenizer().save_pretrained(tmp_path)
    BertConfig().save_pretrained(tmp_path)
    line = error(load_tokenizer, str(tmp_path))
    assert "ByT5Tokenizer" in line
    assert "tokenizer_name" in line


@pytest.mark.parametrize("text", ["{", "[]", "{}", ""])
def test_a_broken_tokenizer(broken: Path, text: str) -> None:
    (broken / "tokenizer.json").write_text(text)
    assert str(broken) in error(load_tokenizer, str(broken))


@pytest.mark.parametrize("kept", [["config.json"], ["config.json", "tokenizer_config.json"], []])
def test_a_folder_without_a_tokenizer(kept: list[str], broken: Path) -> None:
    """Of what is left, transformers makes a tokenizer of five tokens, to which every word is unknown."""
    for path in broken.iterdir():
        if path.name not in kept:
            path.unlink()
    assert str(broken) in error(load_tokenizer, str(broken))
    if kept == ["config.json"]:
        assert error(load_tokenizer, str(broken)).startswith(
            f"{broken}: there is no tokenizer in it (no tokenizer.json"
        )


@pytest.mark.parametrize("family", [family for family in CONFIGS if family not in ("modernbert", "llama")])
def test_no_family_has_a_tokenizer_of_nothing(family: str, tmp_path: Path) -> None:
    config(family).save_pretrained(tmp_path)
    assert f"{tmp_path}: there is no tokenizer in it" in error(load_tokenizer, str(tmp_path))


def test_a_vocabulary_without_the_tokenizers_own_file_is_enough(shared: Path, tmp_path: Path) -> None:
    BertConfig().save_pretrained(tmp_path)
    shutil.copy(shared / "tokenizers/bert-base-uncased/vocab.txt", tmp_path)
    assert load_tokenizer(str(tmp_path)).tokenize("Who wrote?") == ["who", "wrote", "?"]


def test_a_checkpoint_without_a_tokenizer(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / "x.ckpt", config=BertConfig().to_dict() | {"model_type": "bert"})
    assert path in error(load_tokenizer, path)


def test_a_tokenizer_that_adds_nothing_is_warned_of(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B:1")
    tokenizer.save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match=r"knows \[CLS\] and puts neither it nor another special token around"):
        load_tokenizer(str(tmp_path))


def test_code_beside_a_tokenizer_is_not_run(broken: Path, tmp_path: Path) -> None:
    path = broken / "tokenizer_config.json"
    settings = json.loads(path.read_text()) | {"auto_map": {"AutoTokenizer": [None, "evil.Tokenizer"]}}
    path.write_text(json.dumps(settings))
    (broken / "evil.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'sprung')!r})\n")
    assert load_tokenizer(str(broken))(*PAIR) == tiny_tokenizer()(*PAIR)  # by transformers' own code
    assert not (tmp_path / "sprung").exists()


# Configurations


def test_a_checkpoint_gives_back_the_configuration(tmp_path: Path) -> None:
    config = BertConfig(hidden_size=24, num_attention_heads=3, id2label={0: "a", 1: "b", 2: "c"})
    values = {**config.to_dict(), "model_type": config.model_type}
    path = save_checkpoint(tmp_path / "x.ckpt", config=values)
    for _ in range(2):  # reading it does not use it up
        restored = load_config(path)
        assert type(restored) is BertConfig
        assert restored.to_dict() == config.to_dict()


def test_a_folder_gives_its_configuration(folder: Path) -> None:
    assert load_config(str(folder)).hidden_size == 16


# Settings


def test_settings_stand_in_folders_and_checkpoints(folder: Path, broken: Path, tmp_path: Path) -> None:
    settings = {"null_score_diff_threshold": -1.25, "max_length": 48}
    (broken / SETTINGS_FILE).write_text(json.dumps(settings))
    assert load_settings(str(broken)) == settings
    assert load_settings(save_checkpoint(tmp_path / "x.ckpt", settings=settings)) == settings
    assert load_settings(str(folder)) == {}
    assert load_settings("a/name-on-the-hub") == {}
    assert load_settings(None) == {}


def test_settings_of_a_name_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    kept = tmp_path / "models--someone--model"
    for revision, commit in (("main", "a" * 40), ("v2", "b" * 40)):
        (kept / "snapshots" / commit).mkdir(parents=True)
        (kept / "snapshots" / commit / SETTINGS_FILE).write_text(json.dumps({"max_length": len(revision)}))
        (kept / "refs").mkdir(exist_ok=True)
        (kept / "refs" / revision).write_text(commit)
    assert load_settings("someone/model") == {"max_length": 4}
    assert load_settings("someone/model", "v2") == {"max_length": 2}
    assert load_settings("someone/other") == load_settings("no name at all!") == {}


@pytest.mark.parametrize("text", ["{", "[1]", "3", '"x"', ""])
def test_broken_settings_are_named(broken: Path, text: str) -> None:
    (broken / SETTINGS_FILE).write_text(text)
    assert error(load_settings, str(broken)).startswith(str(broken / SETTINGS_FILE))


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"max_length": "abc"}, "max_length"),
        ({"max_length": True}, "max_length"),
        ({"max_length": 384.0}, "max_length"),
        ({"max_length": 0}, "max_length"),
        ({"doc_stride": -1}, "doc_stride"),
        ({"doc_stride": None}, "doc_stride"),
        ({"n_best_size": 10**12}, "n_best_size"),
        ({"max_answer_length": [30]}, "max_answer_length"),
        ({"max_question_length": {}}, "max_question_length"),
        ({"version_2_with_negative": "yes"}, "version_2_with_negative"),
        ({"version_2_with_negative": 1}, "version_2_with_negative"),
        ({"null_score_diff_threshold": [1]}, "null_score_diff_threshold"),
        ({"null_score_diff_threshold": float("nan")}, "null_score_diff_threshold"),
        ({"null_score_diff_threshold": float("-inf")}, "null_score_diff_threshold"),
        ({"null_score_diff_threshold": 10**400}, "null_score_diff_threshold"),
        ({"null_score_diff_threshold": "0"}, "null_score_diff_threshold"),
    ],
)
def test_settings_of_wrong_kinds_are_named(values: dict[str, Any], name: str, broken: Path, tmp_path: Path) -> None:
    (broken / SETTINGS_FILE).write_text(json.dumps({"n_best_size": 20, **values}))
    line = error(load_settings, str(broken))
    assert line.startswith(f"{broken / SETTINGS_FILE}: {name} cannot be ")
    assert len(line) < 300
    path = save_checkpoint(tmp_path / "x.ckpt", settings=values)
    for load in (load_settings, load_tokenizer, load_config, read_checkpoint):
        assert error(load, path).startswith(f"{path}: {name} cannot be ")


def test_settings_without_an_end(broken: Path) -> None:
    (broken / SETTINGS_FILE).write_text("[" * 100_000)
    assert error(load_settings, str(broken)).startswith(str(broken / SETTINGS_FILE))


# Checkpoints


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a/last.ckpt", True), ("last", False), ("a/b", False), ("x.ckpt/model", False), (None, False)],
)
def test_a_checkpoint_is_known_by_its_ending(name: str | None, expected: bool) -> None:
    assert is_checkpoint(name) == expected


def test_a_checkpoint_that_is_not_there(tmp_path: Path) -> None:
    assert error(read_checkpoint, str(tmp_path / "x.ckpt")) == f"{tmp_path / 'x.ckpt'}: no such checkpoint"


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 half"])
def test_a_file_that_is_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.ckpt"
    path.write_bytes(content)
    assert error(read_checkpoint, str(path)).startswith(f"{path}: not a readable checkpoint")


def test_a_cut_checkpoint(tmp_path: Path) -> None:
    path = Path(save_checkpoint(tmp_path / "x.ckpt", settings={"a": 1}))
    path.write_bytes(path.read_bytes()[:-100])
    assert error(read_checkpoint, str(path)).startswith(f"{path}: not a readable checkpoint")


@pytest.mark.parametrize("value", [{"state_dict": {}}, [1, 2], torch.zeros(2)])
def test_a_checkpoint_of_something_else(tmp_path: Path, value: Any) -> None:
    torch.save(value, tmp_path / "x.ckpt")
    assert "not a checkpoint of qa_lightning" in error(read_checkpoint, str(tmp_path / "x.ckpt"))


def test_a_checkpoint_whose_parts_are_not_what_fit_writes(tmp_path: Path) -> None:
    ours = {"config": {}, "tokenizer": {}, "settings": {}}
    for number, (checkpoint, said) in enumerate(
        (
            ({"state_dict": {}, CHECKPOINT_KEY: 3}, "it has no config"),
            ({"state_dict": {}, CHECKPOINT_KEY: {**ours, "config": [1]}}, "its config does not map names to values"),
            ({"state_dict": {}, CHECKPOINT_KEY: {**ours, "config": {1: 2}}}, "its config does not map names"),
            ({"state_dict": {}, CHECKPOINT_KEY: {"config": {}, "settings": {}}}, "it has no tokenizer"),
            (
                {"state_dict": {}, CHECKPOINT_KEY: {**ours, "tokenizer": {"a": b"x"}}},
                "its tokenizer does not map names",
            ),
            ({"state_dict": {}, CHECKPOINT_KEY: {**ours, "settings": "x"}}, "its settings does not map names"),
            (
                {"state_dict": {}, CHECKPOINT_KEY: {**ours, "validation_threshold": "x"}},
                "its validation_threshold is n",
            ),
            ({"state_dict": {"a": 1}, CHECKPOINT_KEY: ours}, "its state_dict does not map names to tensors"),
            ({CHECKPOINT_KEY: ours}, "its state_dict does not map names to tensors"),
            ({"state_dict": {}, "hyper_parameters": 3, CHECKPOINT_KEY: ours}, "its hyper_parameters do not map names"),
        )
    ):
        path = tmp_path / f"{number}.ckpt"
        torch.save(checkpoint, path)
        assert error(read_checkpoint, str(path)).startswith(f"{path}: a damaged checkpoint: {said}")


@pytest.mark.parametrize(
    "config", [{}, {"model_type": 3}, {"model_type": "none"}, {"model_type": "bert", "hidden_size": "x"}]
)
def test_a_checkpoint_without_a_configuration(config: dict[str, Any], tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / "x.ckpt", config=config)
    assert error(load_config, path).startswith(f"cannot load a model from {path}: ")


def test_a_checkpoint_that_was_written_again_is_read_again(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path / "x.ckpt", settings={"a": 1})
    assert load_settings(path) == {"a": 1}
    save_checkpoint(tmp_path / "x.ckpt", settings={"a": 2})
    os.utime(path, ns=(0, Path(path).stat().st_mtime_ns + 1))
    assert load_settings(path) == {"a": 2}


# Errors


def test_what_is_wrong_is_said_in_one_line(folder: Path) -> None:
    for raised, said in (
        (ValueError("first\nsecond"), "first"),
        (ValueError("what follows:\n  this\n  and more"), "what follows: this"),
        (KeyError(), "KeyError"),
    ):
        with pytest.raises(UserError) as caught, readable_errors("model", str(folder)):
            raise raised
        assert str(caught.value) == f"cannot load a model from {folder}: {said}"
        assert caught.value.__cause__ is raised


@pytest.mark.parametrize("raised", [UserError("said already"), KeyboardInterrupt()])
def test_what_is_no_failure_to_load_passes(folder: Path, raised: BaseException) -> None:
    with pytest.raises(type(raised)) as caught, readable_errors("model", str(folder)):
        raise raised
    assert caught.value is raised


def test_the_folder_of_a_run_is_refused_with_that_of_its_model(tmp_path: Path) -> None:
    (tmp_path / "run/best_model").mkdir(parents=True)
    said = error(load_tokenizer, str(tmp_path / "run"))
    assert said == f"{tmp_path / 'run'} is the folder of a run; its model is {tmp_path / 'run' / 'best_model'}"

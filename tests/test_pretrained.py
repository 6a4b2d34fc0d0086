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
from transformers import BertConfig, ByT5Tokenizer, PreTrainedTokenizerFast

from qa_lightning.errors import UserError
from qa_lightning.pretrained import (
    CHECKPOINT_KEY,
    SETTINGS_FILE,
    clear_errors,
    is_checkpoint,
    load_config,
    load_settings,
    load_tokenizer,
    read_checkpoint,
    tokenizer_files,
)
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


def test_a_file_name_in_a_checkpoint_leads_nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    files = tokenizer_files(tiny_tokenizer()) | {"../../escaped.txt": "x", str(tmp_path / "absolute.txt"): "x"}
    load_tokenizer(save_checkpoint(tmp_path / "x.ckpt", tokenizer=files))
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


def test_a_folder_without_a_tokenizer(broken: Path) -> None:
    (broken / "tokenizer.json").unlink()
    assert f"cannot load a tokenizer from {broken}" in error(load_tokenizer, str(broken))


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


# Checkpoints


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a/last.ckpt", True), ("last", False), ("a/b", False), ("x.ckpt/model", False), (None, False)],
)
def test_a_checkpoint_is_told_by_its_ending(name: str | None, expected: bool) -> None:
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
        with pytest.raises(UserError) as caught, clear_errors("model", str(folder)):
            raise raised
        assert str(caught.value) == f"cannot load a model from {folder}: {said}"
        assert caught.value.__cause__ is raised


@pytest.mark.parametrize("raised", [UserError("said already"), KeyboardInterrupt()])
def test_what_is_no_failure_to_load_passes(folder: Path, raised: BaseException) -> None:
    with pytest.raises(type(raised)) as caught, clear_errors("model", str(folder)):
        raise raised
    assert caught.value is raised

"""Model folders and checkpoints that are broken: whoever is given one ends in one line that names it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from qa_lightning import Reader
from qa_lightning.cli.main import main
from qa_lightning.pretrained.checkpoint_file import CHECKPOINT_KEY
from qa_lightning.pretrained.loading import tokenizer_files
from qa_lightning.pretrained.settings import SETTINGS_FILE
from qa_lightning.utils.errors import UserError
from tests.cli.mistakes import error_of
from tests.tiny import SQUAD, tiny_folder, tiny_tokenizer, write_squad
from tests.training import trains

pytestmark = trains

SETTINGS = {
    "max_length": 48,
    "doc_stride": 8,
    "max_question_length": 12,
    "n_best_size": 20,
    "max_answer_length": 10,
    "version_2_with_negative": False,
    "null_score_diff_threshold": 0.0,
}


def settings(**values: Any) -> Callable[[Path], None]:
    return lambda folder: (folder / SETTINGS_FILE).write_text(json.dumps(SETTINGS | values)) and None


def without_a_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


def with_another_tokenizer(folder: Path) -> None:
    """One that knows few words, in a model that knows many."""
    from transformers import BertConfig, BertForQuestionAnswering

    made = BertConfig.from_pretrained(folder)
    made.vocab_size = 1000
    BertForQuestionAnswering(made).save_pretrained(folder)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny_folder(tmp_path_factory.mktemp("whole") / "model")
    settings()(folder)
    return folder


def checkpoint(folder: Path, path: Path, **parts: Any) -> Path:
    """A checkpoint with the parts of ours of a model folder, some of them others."""
    from transformers import AutoModelForQuestionAnswering

    network = AutoModelForQuestionAnswering.from_pretrained(folder)
    config = {**network.config.to_dict(), "model_type": "bert"}
    ours = {"config": config, "tokenizer": tokenizer_files(tiny_tokenizer()), "settings": SETTINGS} | parts
    state = {f"model.{name}": value for name, value in network.state_dict().items()}
    torch.save({"state_dict": state, CHECKPOINT_KEY: {k: v for k, v in ours.items() if v is not None}}, path)
    return path


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def each_ends_in_one_line(
    model: Path, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether `Reader` and the verbs end in a line, say the same, and leave nothing behind."""
    with pytest.raises(UserError) as error:
        Reader.from_pretrained(model)
    assert said in str(error.value)
    text = tmp_path / "text.txt"
    text.write_text("Ada wrote the first program in London.")
    data = write_squad(tmp_path / "data.json")
    monkeypatch.chdir(tmp_path)
    before = files(tmp_path)
    capsys.readouterr()
    named = ["--model.model_name_or_path", str(model), *SQUAD, "--trainer.accelerator", "cpu"]
    for arguments in (
        ["ask", "Who?", "--context", str(text), "--model", str(model)],
        ["export", str(model), "--format", "safetensors", "--output", str(tmp_path / "out")],
        ["validate", *named, "--data.validation_file", str(data)],
        ["fit", *named, "--data.train_file", str(data), "--run_dir", str(tmp_path / "run")],
    ):
        line = error_of(arguments, capsys)
        assert said in line
        assert len(line) < 600
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (without_a_tokenizer, "there is no tokenizer in it"),
        (with_another_tokenizer, "tokens, and the model"),
        (settings(null_score_diff_threshold=[1]), f"{SETTINGS_FILE}: null_score_diff_threshold cannot be [1]; fix it"),
        (settings(max_length="abc"), f"{SETTINGS_FILE}: max_length cannot be 'abc'; fix it"),
    ],
)
def test_folders(
    damage: Callable[[Path], None],
    said: str,
    whole: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = Path(shutil.copytree(whole, tmp_path / "model"))
    damage(model)
    each_ends_in_one_line(model, said, tmp_path, capsys, monkeypatch)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"config": None}, "x.ckpt: a damaged checkpoint: it has no config"),
        ({"config": {"hidden_size": 16}}, "x.ckpt: its configuration has no model_type"),
        ({"tokenizer": None}, "x.ckpt: a damaged checkpoint: it has no tokenizer"),
        ({"tokenizer": {"../evil.txt": "x"}}, "x.ckpt: a damaged checkpoint: a file of its tokenizer is called"),
        ({"settings": SETTINGS | {"n_best_size": "x"}}, "x.ckpt: n_best_size cannot be 'x'; fix it"),
    ],
)
def test_checkpoints(
    parts: dict[str, Any],
    said: str,
    whole: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = checkpoint(whole, tmp_path / "x.ckpt", **parts)
    each_ends_in_one_line(model, said, tmp_path, capsys, monkeypatch)


def test_a_setting_that_is_too_much(whole: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(whole, tmp_path / "model"))
    settings(n_best_size=10**9)(model)
    with pytest.raises(UserError, match=f"^the model's {SETTINGS_FILE}: n_best_size must be at most 10,000"):
        Reader.from_pretrained(model)


def test_what_is_whole_is_loaded(whole: Path, tmp_path: Path) -> None:
    asked = {"question": "Who wrote?", "context": "Ada wrote the first program in London."}
    answer = Reader.from_pretrained(whole)(asked)
    assert Reader.from_pretrained(checkpoint(whole, tmp_path / "x.ckpt"))(asked) == answer


@pytest.mark.parametrize("flag", ["--n_best_size", "--top_k", "--max_answer_len", "--doc_stride", "--max_seq_len"])
def test_no_setting_fills_the_memory(
    flag: str, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("Ada wrote the first program in London. " * 20)
    asked = ["ask", "Who?", "--context", str(text), "--model", str(whole), flag]
    for many in (10**9, 10**30):
        harmless = flag in ("--top_k", "--max_answer_len") and many == 10**9
        capsys.readouterr()
        if harmless:
            assert main([*asked, str(many)]) == 0
        else:
            assert len(error_of([*asked, str(many)], capsys)) < 300

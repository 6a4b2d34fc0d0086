"""Models of every family answer through onnxruntime as they do through torch."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from qa_lightning.exporting.folders import export
from qa_lightning.reader.onnx_runner import OnnxRunner
from qa_lightning.reader.reader import Reader
from qa_lightning.utils.errors import UserError
from tests.exporting.exported import check_alike, questions
from tests.modeling.families import CONFIGS
from tests.standins import roberta, save

POSITIONS = 400
LARGER: dict[str, Any] = {"num_hidden_layers": 2, "initializer_range": 0.5, "pad_token_id": 0}
"""Weights large enough for logits that differ, and layers that read what earlier ones made of padding."""

SETTINGS = {"max_seq_len": 128, "doc_stride": 32}


def build(family: str, padding_side: str, folder: Path, shared: Path) -> Path:
    """A model of a family with BERT's tokenizer, or RoBERTa with its own."""
    if family == "roberta":
        return save(roberta, shared, folder)
    tokenizer = transformers.BertTokenizerFast(
        vocab=str(shared / "tokenizers/bert-base-uncased/vocab.txt"), padding_side=padding_side
    )
    kind, values, _ = CONFIGS[family]
    values = values | LARGER | {"vocab_size": len(tokenizer), "max_position_embeddings": POSITIONS}
    if family == "distilbert":
        values = {key: value for key, value in values.items() if key != "num_hidden_layers"} | {"n_layers": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = getattr(transformers, kind)(**values)
        transformers.AutoModelForQuestionAnswering.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "padding_side"),
    [
        ("bert", "right"),
        ("bert", "left"),
        ("distilbert", "right"),
        ("roberta", "right"),
        ("electra", "right"),
        ("deberta-v2", "right"),
        ("deberta-v3", "right"),
        ("deberta-v3", "left"),
        ("albert", "right"),
        ("modernbert", "right"),
        ("modernbert", "left"),
        ("llama", "right"),
        ("llama", "left"),
        ("qwen3", "right"),
        ("qwen3", "left"),
    ],
)
def test_answers_are_those_of_torch(family: str, padding_side: str, shared: Path, tmp_path: Path) -> None:
    model = build(family, padding_side, tmp_path / "model", shared)
    graph = export(str(model), tmp_path / "onnx", "onnx")
    assert graph is not None
    assert graph.difference < 1e-3
    rows = questions(shared / "data/xquad.en.dev.json")[::6]
    assert len(rows) > 50
    ours = Reader.from_pretrained(tmp_path / "onnx", **SETTINGS)
    torchs = Reader.from_pretrained(model, **SETTINGS)
    assert isinstance(ours.runner, OnnxRunner)
    assert ours.runner.longest == torchs.runner.longest
    for tokens in (1, 4096):  # batches of one window, and of many
        ours.tokens_per_batch = torchs.tokens_per_batch = tokens
        check_alike(ours, torchs, rows)


@pytest.mark.slow
def test_answers_are_those_of_torch_on_all_of_xquad(shared: Path, tmp_path: Path) -> None:
    model = shared / "models/tiny-bert-qa"
    export(str(model), tmp_path / "onnx", "onnx")
    rows = questions(shared / "data/xquad.en.dev.json")
    ours, torchs = Reader.from_pretrained(tmp_path / "onnx"), Reader.from_pretrained(model)
    assert isinstance(ours.runner, OnnxRunner)
    for settings in ({}, {"handle_impossible_answer": True, "max_seq_len": 96, "doc_stride": 16}):
        check_alike(ours, torchs, rows, **settings)


@pytest.mark.parametrize("family", ["longformer", "xlnet"])
def test_what_cannot_be_exported_is_refused(family: str, tmp_path: Path) -> None:
    kind, values, _ = CONFIGS[family]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        getattr(transformers, kind)(**values).save_pretrained(tmp_path / "model")
    with pytest.raises(UserError, match=f"a {family} model cannot be exported to ONNX: .*; export it with --format s"):
        export(str(tmp_path / "model"), tmp_path / "onnx", "onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]

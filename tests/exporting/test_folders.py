"""What an exported folder holds, and that it is whole or not there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from qa_lightning.exporting import folders, onnx
from qa_lightning.exporting.check import checked_difference, largest_difference, sample_batches
from qa_lightning.exporting.folders import export
from qa_lightning.pretrained.loading import load_settings, load_tokenizer
from qa_lightning.reader.loading import load_trained_network
from qa_lightning.reader.onnx_runner import OnnxRunner
from qa_lightning.reader.reader import Reader
from qa_lightning.reader.runners import TorchRunner
from qa_lightning.reader.settings import Settings
from qa_lightning.utils.errors import UserError
from tests.tiny import PASSAGES, tiny_folder, write_squad

OURS = {
    "max_length": 48,
    "doc_stride": 8,
    "max_question_length": 12,
    "n_best_size": 7,
    "max_answer_length": 5,
    "version_2_with_negative": True,
    "null_score_diff_threshold": -0.5,
}
ROWS = [{"question": question, "context": context} for context, asked in PASSAGES for question, _ in asked]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder of ours."""
    folder = tiny_folder(tmp_path_factory.mktemp("model") / "secret-place" / "tiny")
    (folder / "qa_lightning.json").write_text(json.dumps(OURS))
    return folder


@pytest.fixture(scope="module")
def exported(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onnx") / "tiny-onnx"
    export(str(model), folder, "onnx")
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_onnx_folder_is_complete(exported: Path) -> None:
    files = ["README.md", "config.json", "model.onnx", "qa_lightning.json", "tokenizer.json", "tokenizer_config.json"]
    assert names(exported) == files
    assert load_settings(str(exported)) == OURS
    assert names(exported.parent) == ["tiny-onnx"]


def test_no_file_names_a_path_of_the_machine(model: Path, exported: Path) -> None:
    for path in exported.iterdir():
        assert b"secret-place" not in path.read_bytes(), path.name
        assert str(exported.parent).encode() not in path.read_bytes(), path.name


def test_a_reader_runs_it_with_the_settings_and_answers_of_the_model(model: Path, exported: Path) -> None:
    ours, torchs = Reader.from_pretrained(exported), Reader.from_pretrained(model)
    assert isinstance(ours.runner, OnnxRunner)
    assert ours.settings == torchs.settings == Settings.of_model(OURS)
    for found, expected in zip(ours(ROWS, top_k=3), torchs(ROWS, top_k=3), strict=True):
        assert [answer["answer"] for answer in found] == [answer["answer"] for answer in expected]
        assert [answer["score"] for answer in found] == pytest.approx(
            [answer["score"] for answer in expected], abs=1e-4
        )


def test_safetensors_are_float32_and_the_same(model: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    load_trained_network(str(model), None).to(torch.bfloat16).save_pretrained(half)
    load_tokenizer(str(model)).save_pretrained(half)
    assert export(str(half), tmp_path / "plain", "safetensors") is None
    assert names(tmp_path / "plain") == [
        *("README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"),
    ]
    assert json.loads((tmp_path / "plain/config.json").read_text())["dtype"] == "float32"
    from safetensors.torch import load_file

    weights, halves = load_file(tmp_path / "plain/model.safetensors"), load_file(half / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float32}
    assert all(torch.equal(weights[key], halves[key].float()) for key in halves)


def test_an_int8_model_takes_the_place_of_the_other(model: Path, exported: Path, tmp_path: Path) -> None:
    data = write_squad(tmp_path / "squad.json")
    graph = export(str(model), tmp_path / "small", "onnx", int8_data=str(data))
    assert names(tmp_path / "small") == names(exported)
    assert graph is not None
    assert graph.int8 is not None
    assert graph.int8.questions == 6
    assert graph.int8.data == "squad.json"
    assert graph.int8.int8.size == (tmp_path / "small/model.onnx").stat().st_size
    assert graph.int8.whole.size == (exported / "model.onnx").stat().st_size
    assert graph.int8.int8.size < graph.int8.whole.size
    import onnx as format_of_onnx

    kinds = {node.op_type for node in format_of_onnx.load(tmp_path / "small/model.onnx").graph.node}
    assert "MatMulInteger" in kinds
    small = Reader.from_pretrained(tmp_path / "small")
    assert small.runner.longest == 64
    assert small(**ROWS[0])["answer"] in ROWS[0]["context"]


def test_scores_of_an_int8_model_are_those_of_its_answers(model: Path, exported: Path, tmp_path: Path) -> None:
    from qa_lightning.exporting.measure import measure, read_golds

    reader = Reader.from_pretrained(exported, handle_impossible_answer=False)
    answers = [answer["answer"] for answer in reader(ROWS)]
    golds = [[gold if row % 2 else "nothing of the kind"] for row, gold in enumerate(answers)]
    table = read_golds(str(write_squad(tmp_path / "squad.json")))
    import pyarrow as pa

    place = table.schema.get_field_index("gold_texts")
    table = table.set_column(place, "gold_texts", pa.array(golds, type=table.schema.field("gold_texts").type))
    measured = measure(reader, table, 5)
    assert measured.exact == 50.0
    assert measured.f1 >= 50.0
    assert measured.size == 5
    assert measured.speed > 0


def test_a_model_that_differs_is_refused_and_leaves_nothing(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(network: Any, batch: Any, path: Path) -> None:
        with torch.no_grad():
            network.qa_outputs.bias += 0.002
        onnx.write_onnx(network, batch, path)
        with torch.no_grad():
            network.qa_outputs.bias -= 0.002

    monkeypatch.setattr(folders, "write_onnx", other)
    with pytest.raises(UserError, match=r"differ from torch's by up to 2\.0e-03, more than 1e-03: nothing was written"):
        export(str(model), tmp_path / "onnx", "onnx")
    assert names(tmp_path) == []


def test_padding_does_not_count_and_nan_is_refused(model: Path) -> None:
    network, tokenizer = load_trained_network(str(model), None), load_tokenizer(str(model))
    runner = TorchRunner(network)
    batches = sample_batches(runner, tokenizer, Settings.of_model(OURS))
    shapes = [tuple(batch.inputs["input_ids"].shape) for batch in batches]
    padded = [batch for batch in batches if not batch.inputs["attention_mask"].all()]
    assert any(rows == 1 for rows, _ in shapes)
    assert padded
    assert any(batches[-1] is batch for batch in padded)  # the example that is exported with

    class Changed:
        longest, device = runner.longest, runner.device
        value, real = 1.0, False

        def __call__(self, batch: Any) -> Any:
            starts, ends = (logits.clone() for logits in runner(batch))
            ends[batch.inputs["attention_mask"].bool() == self.real] += self.value
            return starts, ends

    changed = Changed()
    assert largest_difference(runner, changed, batches) == 0
    changed.real = True
    assert largest_difference(runner, changed, batches) == pytest.approx(1, abs=1e-5)
    changed.value = np.nan
    with pytest.raises(UserError, match="by up to nan"):
        checked_difference(runner, changed, batches)


def test_weights_too_large_for_one_file_stand_beside_it(
    model: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch.onnx._internal.exporter import _onnx_program

    monkeypatch.setattr(_onnx_program, "_LARGE_MODEL_THRESHOLD", 1000)
    data = write_squad(tmp_path / "squad.json")
    export(str(model), tmp_path / "large", "onnx")
    assert "model.onnx.data" in names(tmp_path / "large")
    assert Reader.from_pretrained(tmp_path / "large")(ROWS) == Reader.from_pretrained(exported)(ROWS)
    graph = export(str(model), tmp_path / "small", "onnx", int8_data=str(data))
    assert graph is not None
    assert graph.int8 is not None
    assert graph.int8.int8.size < graph.int8.whole.size
    assert Reader.from_pretrained(tmp_path / "small")(**ROWS[0])["answer"] in ROWS[0]["context"]


def test_what_is_there_is_not_overwritten(model: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("…")
    with pytest.raises(UserError, match="mine is there already; name another folder"):
        export(str(model), tmp_path / "mine", "safetensors")
    with pytest.raises(UserError, match="is there already"):
        export(str(model), tmp_path / "mine/thesis.txt", "safetensors")
    assert names(tmp_path / "mine") == ["thesis.txt"]
    (tmp_path / "empty").mkdir()
    export(str(model), tmp_path / "empty", "safetensors")
    assert "model.safetensors" in names(tmp_path / "empty")


def test_what_cannot_be_a_source_is_refused(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds an ONNX model already"):
        export(str(exported), tmp_path / "onnx", "onnx")
    headless = tiny_folder(tmp_path / "headless", head=False)
    with pytest.raises(UserError, match="has no question-answering head; train it first"):
        export(str(headless), tmp_path / "onnx", "onnx")
    with pytest.raises(UserError, match="no such file"):
        export(str(headless), tmp_path / "onnx", "onnx", int8_data=str(tmp_path / "none.json"))
    assert names(tmp_path) == ["headless"]


def test_where_nothing_can_be_written(model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written: "):
        export(str(model), tmp_path / "file/onnx", "safetensors")


def test_a_model_that_torch_cannot_export(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    strange = shutil.copytree(model, tmp_path / "model")

    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("Failed to export.\nMore lines.") from ValueError("an operation that is not known")

    monkeypatch.setattr(torch.onnx, "export", fails)
    with pytest.raises(UserError, match="torch cannot export a bert model to ONNX: an operation that is not known;"):
        export(str(strange), tmp_path / "onnx", "onnx")
    assert names(tmp_path) == ["model"]

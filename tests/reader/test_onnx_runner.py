"""ONNX models as a Reader runs them, and what is said of those that it cannot."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from qa_lightning.cli.main import main
from qa_lightning.reader.onnx_runner import LONGEST, OnnxRunner, holds_onnx
from qa_lightning.reader.reader import Reader
from qa_lightning.utils.errors import UserError
from tests.tiny import tiny_tokenizer


def graph(path: Path, *, inputs: tuple[str, ...] = ("input_ids", "attention_mask"), **metadata: str) -> Path:
    """A model that by its start logits gives the tokens' ids, and by its end logits those behind padding's mask."""
    helper, kind = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node("Cast", [inputs[0]], ["start_logits"], to=kind.FLOAT),
        helper.make_node("Mul", [inputs[0], inputs[-1]], ["masked"]),
        helper.make_node("Cast", ["masked"], ["end_logits"], to=kind.FLOAT),
    ]
    shape = ["batch", "length"]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "tiny",
            [helper.make_tensor_value_info(name, kind.INT64, shape) for name in inputs],
            [helper.make_tensor_value_info(name, kind.FLOAT, shape) for name in ("start_logits", "end_logits")],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    helper.set_model_props(model, metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def folder(path: Path) -> Path:
    """A folder with such a model and what else a Reader needs."""
    from transformers import BertConfig

    graph(path / "model.onnx")
    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(path)
    BertConfig(vocab_size=len(tokenizer)).save_pretrained(path)
    return path


class Windows:
    """As much of a batch as a model is given."""

    def __init__(self, **inputs: list[list[int]]) -> None:
        self.inputs = {name: torch.tensor(rows) for name, rows in inputs.items()}


def test_it_gives_what_the_model_computes_of_the_inputs_that_it_takes(tmp_path: Path) -> None:
    runner = OnnxRunner(graph(tmp_path / "model.onnx"))
    rows = {"input_ids": [[5, 6, 7], [8, 9, 0]], "attention_mask": [[1, 1, 1], [1, 1, 0]]}
    batch: Any = Windows(token_type_ids=[[0, 1, 1], [0, 1, 1]], **rows)
    starts, ends = runner(batch)
    assert starts.tolist() == [[5, 6, 7], [8, 9, 0]]
    assert ends.tolist() == [[5, 6, 7], [8, 9, 0]]
    assert starts.dtype == ends.dtype == torch.float32
    assert runner.inputs == ["input_ids", "attention_mask"]


def test_positions_are_those_that_the_model_states(tmp_path: Path) -> None:
    assert OnnxRunner(graph(tmp_path / "any.onnx")).longest is None
    assert OnnxRunner(graph(tmp_path / "some.onnx", **{LONGEST: "512"})).longest == 512


def test_a_reader_needs_nothing_but_the_folder(tmp_path: Path) -> None:
    reader = Reader.from_pretrained(folder(tmp_path), device="cpu")
    answer = reader(question="Who wrote it?", context="Ada wrote it.")
    assert answer["answer"] in "Ada wrote it."
    assert 0 < answer["score"] <= 1


def test_torch_goes_first_where_a_folder_has_both(tmp_path: Path) -> None:
    folder(tmp_path)
    assert holds_onnx(str(tmp_path))
    (tmp_path / "model.safetensors").touch()
    assert not holds_onnx(str(tmp_path))
    assert not holds_onnx("deepset/roberta-base-squad2")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "bfloat16"}, "keeps the dtype that it was exported with; leave dtype out"),
        ({"dtype": "int3"}, "dtype cannot be 'int3'"),
        ({"attn_implementation": "eager"}, "has its attention built in; leave attn_implementation out"),
        ({"device": "mps"}, "cannot run on mps here; device is cpu or cuda"),
        ({"device": "cuda:0"}, "cannot use a GPU here: pip install onnxruntime-gpu, or set device to cpu"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    import onnxruntime

    if "cuda" in str(options.get("device")) and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("onnxruntime can use a GPU here")
    with pytest.raises(UserError, match=message):
        Reader.from_pretrained(folder(tmp_path), **options)


def test_files_that_are_no_such_model(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"\x00not a model")
    with pytest.raises(UserError, match=r"broken\.onnx: onnxruntime cannot load it: ") as caught:
        OnnxRunner(tmp_path / "broken.onnx")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="not a question-answering model as `export` writes it: it takes input_ids, o"):
        OnnxRunner(graph(tmp_path / "other.onnx", inputs=("input_ids", "other_ids")))


def test_a_missing_package_is_reported_with_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = importlib.import_module

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("onnx"):
            raise ModuleNotFoundError(name)
        return whole(name, *rest)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(UserError, match=r"^onnxruntime is not installed: pip install 'qa_lightning\[onnx\]'$"):
        Reader.from_pretrained(folder(tmp_path / "model"))
    plain = tmp_path / "plain"
    (plain).mkdir()
    (plain / "config.json").write_text('{"model_type": "bert"}')
    assert main(["export", str(plain), "--format", "onnx", "--output", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == "error: onnx is not installed: pip install 'qa_lightning[onnx]'\n"

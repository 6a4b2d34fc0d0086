"""Writes a model as a folder: for transformers, or for onnxruntime."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from qa_lightning.exporting.card import CARD, Graph, render
from qa_lightning.exporting.check import checked_difference, sample_batches
from qa_lightning.exporting.measure import Quantized, measure, read_golds, size_of
from qa_lightning.exporting.onnx import check_exportable, write_onnx
from qa_lightning.exporting.quantize import quantize
from qa_lightning.modeling.network import quiet_transformers
from qa_lightning.pretrained.head import HEAD_KEY, mark_headed
from qa_lightning.pretrained.loading import load_config, load_settings, load_tokenizer
from qa_lightning.pretrained.settings import SETTINGS_FILE
from qa_lightning.reader.loading import load_trained_network
from qa_lightning.reader.onnx_runner import ONNX_FILE, OnnxRunner, holds_onnx
from qa_lightning.reader.reader import Reader
from qa_lightning.reader.runners import TorchRunner
from qa_lightning.reader.settings import Settings
from qa_lightning.runs.folder import resolve_model
from qa_lightning.runs.provenance import provenance_of
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.files import whole_folder, write_json

Format = Literal["onnx", "safetensors"]


def export(
    run: str, output: Path, form: Format, *, int8_data: str | None = None, hub_name: str | None = None
) -> Graph | None:
    """Writes a model with its tokenizer, its settings and a card into a new folder, which is whole or not there.

    Args:
        run: The folder of a run, whose best model is taken; a model folder, a checkpoint, or a name on the Hub.
        output: The folder.
        form: ``safetensors``: the plain folder of transformers, in float32; ``onnx``: one for onnxruntime.
        int8_data: A file of questions with golds, by which an ONNX model with weights in 8 bits is measured beside the
            one in float32, in whose place it is written; None: no such model.
        hub_name: What the card says that the model is called on the Hub.

    Returns:
        What was found of the ONNX model; None for ``safetensors``.

    Raises:
        UserError: Where the model cannot be loaded, exported or written, or the exported one gives other logits.
    """
    name = resolve_model(run)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"{output} is there already; name another folder, or delete it first")
    if holds_onnx(name):
        raise UserError(f"{name} holds an ONNX model already; name the run or the model that it was exported from")
    if form == "onnx":
        check_exportable(name, load_config(name).model_type)
    golds = None if int8_data is None else read_golds(int8_data)
    provenance = provenance_of(run)
    tokenizer, saved = load_tokenizer(name), load_settings(name)
    network = load_trained_network(name, tokenizer).eval()
    head = (getattr(network.config, HEAD_KEY, None) or {}).get("type")
    graph = None
    with _new_folder(output) as folder:
        with quiet_transformers():
            if form == "onnx":
                network.config.save_pretrained(folder)
                mark_headed(folder)
            else:
                network.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        if saved:
            write_json(folder / SETTINGS_FILE, saved)
        if form == "onnx":
            graph = _write_onnx(network, tokenizer, Settings.of_model(saved), folder)
            if int8_data is not None:
                graph = replace(graph, int8=_to_int8(folder, golds, Path(int8_data).name, provenance.language))
        card = render(hub_name or output.resolve().name, provenance, saved, graph, hub_name, head)
        (folder / CARD).write_text(card, encoding="utf-8", newline="\n")
    return graph


def _write_onnx(network: Any, tokenizer: Any, settings: Settings, folder: Path) -> Graph:
    """Writes the ONNX model, where it gives the logits that torch gives."""
    runner = TorchRunner(network)
    batches = sample_batches(runner, tokenizer, settings)
    write_onnx(network, batches[-1], folder / ONNX_FILE)
    exported = OnnxRunner(folder / ONNX_FILE, "cpu")
    difference = checked_difference(runner, exported, batches)
    return Graph(exported.inputs, exported.longest, difference)


def _to_int8(folder: Path, golds: pa.Table, data: str, language: str | None) -> Quantized:
    """Puts a model with weights in 8 bits into the place of a folder's, and measures both."""
    whole = measure(Reader.from_pretrained(folder, device="cpu"), golds, size_of(folder), language)
    with tempfile.TemporaryDirectory(dir=folder) as workshop:
        quantize(folder / ONNX_FILE, Path(workshop, ONNX_FILE))
        for old in folder.glob(f"{ONNX_FILE}*"):
            old.unlink()
        for new in Path(workshop).iterdir():
            new.rename(folder / new.name)
    int8 = measure(Reader.from_pretrained(folder, device="cpu"), golds, size_of(folder), language)
    return Quantized(data, len(golds), whole, int8)


@contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    try:
        with whole_folder(path) as folder:
            yield folder
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error

"""``export RUN``: writes a trained model as a folder that other programs can use."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from qa_lightning.cli.arguments import VerbParser
from qa_lightning.cli.reader_flags import warnings_in_lines
from qa_lightning.utils.terminal import plain_text

if TYPE_CHECKING:
    from qa_lightning.exporting.measure import Quantized


def run(arguments: list[str]) -> None:
    """Writes the folder that the arguments ask for, says how exact it is, and uploads it where that is asked for.

    Raises:
        UserError: Where the model cannot be loaded, exported, written or uploaded.
    """
    options = _options(arguments)
    # Imported one after the other, since torch and transformers take seconds that a mistake need not wait for.
    from qa_lightning.exporting.upload import check_name, push

    if options.push_to_hub is not None:
        check_name(options.push_to_hub)
    from qa_lightning.exporting.folders import export

    with warnings_in_lines():
        graph = export(
            options.run,
            options.output,
            options.format,
            int8_data=options.data,
            hub_name=options.push_to_hub,
        )
    if graph is not None:
        print(f"The logits differ from torch's by {graph.difference:.1e} at most")
        if graph.int8 is not None:
            _print_comparison(graph.int8)
    print(f"The model is in {options.output}")
    if options.push_to_hub is not None:
        print(f"It is at {push(options.output, options.push_to_hub, public=options.public)}")


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = VerbParser("export", "Writes a trained model as a folder that other programs can use, with a model card.")
    parser.add_argument(
        "run", metavar="RUN", help="folder of a run or of a model, a checkpoint, or a model's name on the Hub"
    )
    parser.add_argument(
        "--format",
        required=True,
        choices=("onnx", "safetensors"),
        help="onnx: for onnxruntime, which Reader uses too; safetensors: the plain folder of transformers, in float32",
    )
    parser.add_argument("--output", required=True, metavar="DIR", type=Path, help="where to write; a new folder")
    parser.add_argument(
        "--int8", action="store_true", help="onnx: weights in 8 bits, measured on --data beside those in float32"
    )
    parser.add_argument("--data", metavar="FILE", help="questions with golds, in any format that training reads")
    parser.add_argument("--push_to_hub", metavar="NAME", help="upload the folder to the Hub under this name")
    parser.add_argument("--public", action="store_true", help="if new there, everybody may see it; default: private")
    options = parser.parse_args(arguments)
    if options.int8 and options.format != "onnx":
        parser.error("--int8 goes with --format onnx")
    if options.int8 != (options.data is not None):
        parser.error("--int8 and --data go together: the file is what the model in 8 bits is measured on")
    if options.public and options.push_to_hub is None:
        parser.error("--public goes with --push_to_hub")
    return options


def _print_comparison(comparison: Quantized) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "model",
        "EM",
        "F1",
        "questions/s",
        "MB",
        title=plain_text(f"{comparison.questions:,} questions of {comparison.data}"),
    )
    for row in comparison.rows():
        table.add_row(*row)
    Console().print(table)
